"""A corpus as rows of tokens (notebook, cell 59), corpus/tokens.h5."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from an_neuron.errors import UserError
from an_neuron.files.schema import Field, Schema

if TYPE_CHECKING:
    from an_neuron.model.folder import Shape
    from an_neuron.model.tokenizer import Tokenizer

LONGEST_ROW = 2048
SAMPLE_TOKENS = 32_768
"""About how many tokens a look at some rows of a corpus takes."""
TOKENS = Schema(
    "corpus/tokens.h5",
    "the book in rows of BOS and n_ctx - 1 tokens",
    {"token_id": Field("row pos", "int32", "token id", "BOS and tokens of the corpus")},
)


def row_length(n_ctx: int | None, shape: "Shape") -> int:
    """Return how many tokens, BOS included, a row has: n_ctx, or where that is None or 0 what suits the model."""
    return n_ctx or min(shape.n_ctx, LONGEST_ROW)


def token_rows(tokenizer: "Tokenizer", text: str, n_ctx: int, d_vocab: int, limit: int | None = None) -> np.ndarray:
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
    limit
        How many rows, from the first on, are kept; all if None.

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
            f"The corpus has {len(ids)} tokens, fewer than the {n_ctx - 1} of one row; it needs a longer text, or "
            "shorter rows.",
            f"corpus: {{n_ctx: {max(2, len(ids))}}}",
        )
    tokenizer.check_vocabulary([int(ids.max())], d_vocab)
    n_rows = min(n_rows, limit or n_rows)
    body = ids[: n_rows * (n_ctx - 1)].reshape(n_rows, n_ctx - 1)
    return np.concatenate([np.full((n_rows, 1), tokenizer.bos, dtype=np.int32), body], axis=1)


def spread_rows(rows: Any, n_tokens: int = SAMPLE_TOKENS) -> np.ndarray:
    """Return rows that are spread evenly over a corpus, [row, pos], of about so many tokens; all where it is shorter.

    Parameters
    ----------
    rows
        Token ids, [row, pos]: an array or an open HDF5 dataset, of which only these rows are read.
    n_tokens
        How many tokens at least, where the corpus has as many.
    """
    wanted = min(len(rows), -(-n_tokens // rows.shape[1]))
    return np.asarray(rows[np.unique(np.linspace(0, len(rows) - 1, wanted).round().astype(int))])


def write_tokens(path: str | Path, rows: np.ndarray, attributes: Mapping[str, Any]) -> None:
    """Write corpus/tokens.h5."""
    from an_neuron.files import hdf5

    hdf5.write(path, TOKENS, {"token_id": rows}, attributes)
