"""Writing and reading results: atomic files, self-describing HDF5, small HTML pages, texts of tokens and neurons."""
