"""A corpus as rows of tokens (notebook, cell 59), corpus/tokens.h5."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from an_neuron.corpus.documents import DOCUMENT_FIELDS, PACKING, Documents, add_documents, packing_of
from an_neuron.files.schema import Field, Schema

if TYPE_CHECKING:
    from an_neuron.model.folder import Shape

LONGEST_ROW = 2048
SAMPLE_TOKENS = 32_768
"""About how many tokens a look at some rows of a corpus takes."""
TOKENS = Schema(
    "corpus/tokens.h5",
    "the corpus in rows of BOS and n_ctx - 1 tokens, and which document stands where",
    {"token_id": Field("row pos", "int32", "token id", "BOS and tokens of the corpus"), **DOCUMENT_FIELDS},
    {
        **PACKING,
        "n_documents": "how many documents were read",
        "n_dropped": "tokens of these that are in no row: remainders shorter than a row, or beyond the last one wanted",
        "n_skipped": "what was passed over, since it is no document (`on_bad_line: skip`)",
    },
)


def row_length(n_ctx: int | None, shape: "Shape") -> int:
    """Return how many tokens, BOS included, a row has: n_ctx, or where that is None or 0 what suits the model."""
    return n_ctx or min(shape.n_ctx, LONGEST_ROW)


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


def write_tokens(
    path: str | Path, rows: np.ndarray, attributes: Mapping[str, Any], documents: Documents | None = None
) -> None:
    """Write rows that are at hand as corpus/tokens.h5; they are one document where no others are given."""
    from an_neuron.files import hdf5

    documents = documents or Documents.single("book")
    counts = {"n_documents": len(documents.row), "n_dropped": 0, "n_skipped": 0}
    with hdf5.create(path, TOKENS, {**attributes, **counts, **packing_of(documents)}) as writer:
        writer.add("token_id", rows)
        add_documents(writer, documents)
