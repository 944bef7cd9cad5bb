"""The figures, one module per stage; each function draws one result table."""
