"""A part of a corpus as tokens, corpus/parts/{part}.h5: those of its documents, one after the other.

Parts end where documents end, so that each is read by itself: a lost one is made alone, and many are made side by side.
Only a batch of documents is in memory. How rows are made of the parts is told by `an_neuron.corpus.token_rows`.
"""

import logging
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from tqdm import tqdm

from an_neuron.corpus.documents import PACKING, ROWS
from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema

if TYPE_CHECKING:
    from an_neuron.corpus.reading import Item
    from an_neuron.model.tokenizer import Tokenizer

log = logging.getLogger(__name__)
BATCH_CHARACTERS, BATCH_DOCUMENTS = 1 << 20, 1024
"""Of documents that are tokenized together, at most (or a longer one alone)."""
CHUNK = 1 << 18
"""Tokens in a chunk of the file, and in memory before they are written."""
BYTES_PER_TOKEN = 8
"""Of a text, at most, as a mean: English has four."""
STOP, SKIP = "stop", "skip"
TOKEN_PART = Schema(
    "corpus/parts/{part}.h5",
    "the tokens of a part of the corpus' documents, one after the other",
    {
        "token_id": Field("token", "int32", "token id", "tokens; with `packing: rows` EOS after each document"),
        "document_tokens": Field("document", "int64", "tokens", "how many of them are each document's"),
        "document_file": Field("document", "int32", "", "number of its file"),
        "document_line": Field("document", "int32", "", "its line or row in the file, from 1; 0: the whole file"),
        "file": Field("file", "text", "", "the corpus' files, in their order"),
    },
    {
        **PACKING,
        "bos": "id of the token before each row",
        "n_documents": "how many documents were read",
        "n_dropped": "with `packing: documents`, tokens of documents' remainders, shorter than a row",
        "n_skipped": "what was passed over, since it is no document",
    },
)


@dataclass(frozen=True)
class Packing:
    """How rows are made of documents.

    Attributes
    ----------
    kind
        `rows` or `documents`.
    n_ctx
        Tokens in a row, BOS included.
    limit
        How many rows are wanted; no more is read then. All if None.
    """

    kind: str
    n_ctx: int
    limit: int | None = None

    def kept(self, n_tokens: int) -> int:
        """Return how many of a document's tokens are kept."""
        return n_tokens if self.kind == ROWS else n_tokens - n_tokens % (self.n_ctx - 1)

    def least_bytes(self, n_text: int) -> int:
        """Return about how large a file of a text's tokens is at least, by the text's bytes and the rows wanted."""
        n_tokens = n_text // BYTES_PER_TOKEN
        if self.limit is not None:
            n_tokens = min(n_tokens, self.limit * (self.n_ctx - 1))
        return TOKEN_PART.n_bytes(token=n_tokens)

    def is_enough(self, n_tokens: int) -> bool:
        """Return whether a stream of so many tokens holds the rows that are wanted."""
        return self.limit is not None and n_tokens > self.limit * (self.n_ctx - 1)


class DocumentReader:
    """Hands on the documents among files' items, and stops at what is none, or counts it.

    Parameters
    ----------
    items
        Each with the number of its file.
    on_bad_line
        `stop` or `skip`.

    Attributes
    ----------
    n_skipped
        How many items were no documents until now.
    """

    def __init__(self, items: "Iterable[tuple[int, Item]]", on_bad_line: str = STOP) -> None:
        self._items, self._on_bad_line = items, on_bad_line
        self.n_skipped = 0

    def __iter__(self) -> Iterator[tuple[int, int, str]]:
        """Yield number of the file, line and text of each document.

        Raises
        ------
        UserError
            At what is no document, unless that is skipped.
        """
        for file, item in self._items:
            if item.text is None:
                self._skip(item)
            else:
                yield file, item.line, item.text

    def _skip(self, item: "Item") -> None:
        if self._on_bad_line == STOP and item.mistake:
            raise item.mistake
        if not self.n_skipped:
            log.warning("Skipped, as all that follows of the kind: %s", item.mistake)
        self.n_skipped += 1


def write_part(
    path: Path,
    documents: DocumentReader,
    files: Sequence[str],
    tokenizer: "Tokenizer",
    d_vocab: int,
    packing: Packing,
    attributes: Mapping[str, Any],
    n_items: int | None = None,
) -> None:
    """Tokenize documents one batch after the other, and write their tokens as it goes on.

    Parameters
    ----------
    documents
        The part's documents.
    files
        Names of the corpus' files.
    d_vocab
        Size of the model's vocabulary.
    packing
        What is kept of each document.
    attributes
        Root attributes.
    n_items
        How many items the part has, if that is known, for the progress.

    Raises
    ------
    UserError
        At what is no document, if that is not skipped, or at a token that the model does not know.
    """
    with hdf5.create(path, TOKEN_PART, {**attributes, "packing": packing.kind, "bos": tokenizer.bos}) as writer:
        stream = _Stream(writer.allocate("token_id", (0,), maxshape=(None,), chunks=(CHUNK,)))
        tokenized = _tokenized(documents, tokenizer, d_vocab, n_items)
        table, counts = _packed(stream, tokenized, packing, tokenizer.eos)
        for name, column in zip(("tokens", "file", "line"), table.T, strict=True):
            writer.add(f"document_{name}", column)
        writer.add("file", list(files))
        counts["n_skipped"] = documents.n_skipped
        writer.file.attrs.update(counts)
    if counts["n_dropped"] or counts["n_skipped"]:
        log.warning("%s", _told(stream.length, counts))


def _packed(
    stream: "_Stream", tokenized: Iterable[tuple[int, int, np.ndarray]], packing: Packing, eos: int
) -> tuple[np.ndarray, dict[str, int]]:
    """Write what is kept of documents until it is enough.

    Returns
    -------
    tuple
        How many tokens are each document's, its file's number and its line, [document, 3]; and how many documents there
        were, and tokens that were dropped.
    """
    table = array("q")  # 24 bytes a document, where a list of tuples takes 150
    counts = {"n_documents": 0, "n_dropped": 0}
    ending = np.array([eos] if packing.kind == ROWS else [], np.int32)
    for file, line, ids in tokenized:
        kept = np.append(ids[: packing.kept(len(ids))], ending)
        counts["n_documents"] += 1
        counts["n_dropped"] += len(ids) + len(ending) - len(kept)
        if len(kept):
            table.extend((len(kept), file, line))
            stream.add(kept)
        if packing.is_enough(stream.length):
            break
    stream.flush()
    return np.array(table).reshape(-1, 3), counts


def _tokenized(
    documents: DocumentReader, tokenizer: "Tokenizer", d_vocab: int, n_items: int | None
) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield number of the file, line and token ids of each document."""
    n_tokens = 0
    with tqdm(total=n_items, desc="tokenize", unit="document", unit_scale=True, mininterval=2) as progress:
        for batch in _batches(documents):
            all_ids = [np.array(ids, np.int32) for ids in tokenizer.encode_batch([text for *_, text in batch])]
            tokenizer.check_vocabulary([max(int(ids.max(initial=0)) for ids in all_ids)], d_vocab)
            for (file, line, _), ids in zip(batch, all_ids, strict=True):
                yield file, line, ids
            n_tokens += sum(map(len, all_ids))
            rate = n_tokens / max(progress.format_dict["elapsed"], 1e-3)
            progress.set_postfix_str(f"{n_tokens:,} tokens, {rate:,.0f} token/s", refresh=False)
            progress.update(len(batch))


def _batches(documents: Iterable[tuple[int, int, str]]) -> Iterator[list[tuple[int, int, str]]]:
    """Yield documents that are tokenized together."""
    batch: list[tuple[int, int, str]] = []
    n_characters = 0
    for document in documents:
        batch.append(document)
        n_characters += len(document[-1])
        if n_characters >= BATCH_CHARACTERS or len(batch) == BATCH_DOCUMENTS:
            yield batch
            batch, n_characters = [], 0
    if batch:
        yield batch


class _Stream:
    """Writes tokens behind one another, whole chunks at a time."""

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset, self._held, self._n_held = dataset, [np.empty(0, np.int32)], 0
        self.length = 0

    def add(self, ids: np.ndarray) -> None:
        self._held.append(ids)
        self._n_held += len(ids)
        self.length += len(ids)
        if self._n_held >= CHUNK:
            self._write(self._n_held - self._n_held % CHUNK)

    def flush(self) -> None:
        self._write(self._n_held)

    def _write(self, number: int) -> None:
        tokens, start = np.concatenate(self._held), len(self._dataset)
        self._dataset.resize((start + number,))
        self._dataset[start:] = tokens[:number]
        self._held, self._n_held = [tokens[number:]], self._n_held - number


def _told(n_tokens: int, counts: Mapping[str, int]) -> str:
    """Say in a sentence what became of a part's documents."""
    said = f"{counts['n_documents']:,} documents gave {n_tokens:,} tokens"
    if counts["n_dropped"]:
        said += f"; {counts['n_dropped']:,} were dropped, of remainders shorter than a row"
    if counts["n_skipped"]:
        said += f"; {counts['n_skipped']:,} lines or files were skipped, since they are no documents"
    return f"{said}."
