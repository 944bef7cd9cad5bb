"""Prompt pairs: tokenized, predicted, and read layer by layer through the logit lens."""
