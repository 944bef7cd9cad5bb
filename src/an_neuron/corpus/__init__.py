"""A corpus: its text, its tokens, and what a model does at each of them."""
