"""A corpus as rows of tokens (notebook, cell 59)."""

import numpy as np

from an_neuron.errors import UserError
from an_neuron.model.folder import Shape
from an_neuron.model.tokenizer import Tokenizer

LONGEST_ROW = 2048


def row_length(n_ctx: int | None, shape: Shape) -> int:
    """Return how many tokens, BOS included, a row has: n_ctx, or where that is None or 0 what suits the model."""
    return n_ctx or min(shape.n_ctx, LONGEST_ROW)


def token_rows(tokenizer: Tokenizer, text: str, n_ctx: int, d_vocab: int) -> np.ndarray:
    """Cut a text into rows of BOS and n_ctx - 1 tokens; the remainder is dropped.

    Parameters
    ----------
    tokenizer
        The model's tokenizer.
    text
        The corpus.
    n_ctx
        Tokens in a row, BOS included.
    d_vocab
        Size of the model's vocabulary.

    Returns
    -------
    numpy.ndarray
        Token ids, [row, pos], int32.

    Raises
    ------
    UserError
        If the text has fewer tokens than one row holds, or a token that the model does not know.
    """
    ids = np.asarray(tokenizer.encode(text), dtype=np.int32)
    n_rows = len(ids) // (n_ctx - 1)
    if n_rows == 0:
        raise UserError(
            f"The corpus has {len(ids)} tokens, fewer than the {n_ctx - 1} of one row; give a longer text, or write a "
            f"smaller `corpus: {{n_ctx: …}}` in config.yaml."
        )
    if (largest := max(int(ids.max()), tokenizer.bos)) >= d_vocab:
        raise UserError(
            f"The tokenizer makes token {largest} ({tokenizer.text(largest)!r}), beyond the model's vocabulary of "
            f"{d_vocab}; its tokenizer.json belongs to another model."
        )
    body = ids[: n_rows * (n_ctx - 1)].reshape(n_rows, n_ctx - 1)
    return np.concatenate([np.full((n_rows, 1), tokenizer.bos, dtype=np.int32), body], axis=1)
