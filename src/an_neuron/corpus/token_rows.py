"""Cutting the tokens of a corpus' parts into rows, corpus/tokens.h5.

They stand in the files of the parts (`an_neuron.corpus.token_parts`), one after the other. Rows look into these: a
virtual dataset cuts the stream into n_ctx - 1 tokens each, whichever parts they are in, and puts BOS before each row.
So nothing is copied, and a corpus has the same rows in one part as in many.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from an_neuron.corpus.documents import ROWS, Documents, add_documents, packing_of
from an_neuron.corpus.rows import TOKENS
from an_neuron.corpus.token_parts import TOKEN_PART
from an_neuron.errors import UserError
from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Laid, loaded


@dataclass(frozen=True)
class Piece:
    """Successive tokens of a part of the corpus, and where they stand in rows.

    Attributes
    ----------
    part, start, stop
        Tokens start:stop of a part, by its number.
    rows, columns
        The rows and positions that they fill, row by row.
    """

    part: int
    start: int
    stop: int
    rows: slice
    columns: slice


def pieces(lengths: Sequence[int], n_rows: int, n_ctx: int) -> Iterator[Piece]:
    """Cut parts of a stream into rows of n_ctx - 1 tokens; what is beyond the last row is left out.

    Parameters
    ----------
    lengths
        Tokens in each part.
    n_rows
        How many rows are wanted; the parts hold as many.
    n_ctx
        Tokens in a row, BOS included.

    Yields
    ------
    Piece
        Whole rows together; the rows that a part begins or ends in the middle of have pieces of their own.
    """
    width, begin = n_ctx - 1, 0
    for part, length in enumerate(lengths):
        stop = min(begin + length, n_rows * width)
        at = begin
        while at < stop:
            row, column = divmod(at, width)
            whole = (stop - at) // width
            taken = whole * width if whole and not column else min(width - column, stop - at)
            columns = slice(1 + column, 1 + column + min(taken, width))
            yield Piece(part, at - begin, at - begin + taken, slice(row, row + max(1, taken // width)), columns)
            at += taken
        begin += length


def gather_tokens(
    path: Path, parts: Sequence[Path], n_ctx: int, limit: int | None, attributes: Mapping[str, Any]
) -> None:
    """Write corpus/tokens.h5.

    Parameters
    ----------
    path
        The file.
    parts
        The files of the corpus' parts, in their order.
    n_ctx
        Tokens in a row, BOS included.
    limit
        How many rows, from the first on, are kept; all if None.
    attributes
        Root attributes.

    Raises
    ------
    UserError
        If the corpus has fewer tokens than one row holds.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(hdf5.opened(part, TOKEN_PART)) for part in parts]
        packing, lengths = str(files[0].attrs["packing"]), [len(file["token_id"]) for file in files]
        n_tokens = max(0, sum(lengths) - (packing == ROWS))  # nothing follows upon the last document's EOS
        n_rows = n_tokens // (n_ctx - 1)
        dropped = sum(int(file.attrs["n_dropped"]) for file in files)
        if n_rows == 0:
            raise _too_short(n_tokens + dropped, n_ctx, packing)
        n_rows = min(n_rows, limit or n_rows)
        counts = {name: sum(int(file.attrs[name]) for file in files) for name in ("n_documents", "n_skipped")}
        counts["n_dropped"] = dropped + n_tokens - n_rows * (n_ctx - 1)
        documents = _documents(files, lengths, n_rows, n_ctx)
        with hdf5.create(path, TOKENS, {**attributes, **counts, **packing_of(documents)}) as writer:
            laid = [
                Laid(files[one.part]["token_id"], slice(one.start, one.stop), (one.rows, one.columns))
                for one in pieces(lengths, n_rows, n_ctx)
            ]
            writer.lay("token_id", (n_rows, n_ctx), laid, fill=int(files[0].attrs["bos"]))
            add_documents(writer, documents)


def _too_short(n_tokens: int, n_ctx: int, packing: str) -> UserError:
    if packing == ROWS:
        return UserError(
            f"The corpus has {n_tokens} tokens, fewer than the {n_ctx - 1} of one row; it needs a longer text, or "
            "shorter rows.",
            f"corpus: {{n_ctx: {max(2, n_tokens)}}}",
        )
    return UserError(
        f"The corpus has {n_tokens} tokens, and no document with the {n_ctx - 1} of one row; it needs longer "
        "documents, shorter rows (`n_ctx`), or rows of several documents.",
        "corpus: {packing: rows}",
    )


def _documents(files: Sequence[h5py.File], lengths: Sequence[int], n_rows: int, n_ctx: int) -> Documents:
    """Return the documents that begin in the rows."""
    tokens, file, line = (
        np.concatenate([one[f"document_{name}"][...] for one in files]) for name in ("tokens", "file", "line")
    )
    starts = np.append(0, np.cumsum(tokens))[:-1]
    kept = starts < n_rows * (n_ctx - 1)
    row, column = np.divmod(starts[kept], n_ctx - 1)
    return Documents(
        str(files[0].attrs["packing"]), row, column + 1, file[kept], line[kept], loaded(files[0]["file"]).tolist()
    )
