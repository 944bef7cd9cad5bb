"""A study: its configuration and what that asks for, its cost, its comparison with published values, its provenance."""
