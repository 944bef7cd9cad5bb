"""Which document of a corpus stands where in its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from an_neuron.files.schema import Field

if TYPE_CHECKING:
    import h5py

    from an_neuron.files.hdf5 import Writer

ROWS, DOCUMENTS = "rows", "documents"
"""How rows are made: of all documents, joined by EOS; or each of a single document."""
LEAST_DOCUMENTS = 20
"""From how many on documents are drawn in a bootstrap, not rows."""
DOCUMENT_FIELDS = {
    "document_row": Field("document", "int32", "", "row in which the document begins"),
    "document_pos": Field("document", "int32", "", "position in that row of its first token"),
    "document_file": Field("document", "int32", "", "number of its file"),
    "document_line": Field(
        "document", "int32", "", "its line or row in the file, from 1; 0 where it is the whole file"
    ),
    "file": Field("file", "text", "", "the corpus' files, in their order"),
}
PACKING = {"packing": "rows: documents follow upon one another, joined by EOS; documents: each row is of one document"}
"""The attribute beside these fields."""


@dataclass(frozen=True)
class Documents:
    """The documents of a corpus.

    Attributes
    ----------
    packing
        `rows` or `documents`.
    row, pos
        Where each document's first token stands, [document], ascending.
    file, line
        The number of its file, and its line there (0: the whole file), [document].
    files
        Names of the files.
    """

    packing: str
    row: np.ndarray
    pos: np.ndarray
    file: np.ndarray
    line: np.ndarray
    files: Sequence[str]

    @classmethod
    def of_file(cls, file: "h5py.File") -> "Documents":
        """Read them from corpus/tokens.h5 or activations/associations.h5."""
        from an_neuron.files.hdf5 import loaded

        columns = (file[f"document_{name}"][...] for name in ("row", "pos", "file", "line"))
        row, pos, number, line = (column.astype(np.int64) for column in columns)  # `at` multiplies them
        return cls(str(file.attrs["packing"]), row, pos, number, line, loaded(file["file"]).tolist())

    @classmethod
    def single(cls, name: str) -> "Documents":
        """Return those of a corpus that is one document: the whole file of that name."""
        zero = np.zeros(1, np.int64)
        return cls(ROWS, zero, zero + 1, zero, zero, [name])

    def at(self, row: np.ndarray, pos: np.ndarray) -> np.ndarray:
        """Return the number of the document at each place; BOS belongs to what follows it in its row."""
        row, pos = row.astype(np.int64), pos.astype(np.int64)
        length = 1 + max(int(self.pos.max()), int(np.max(pos, initial=0)))
        starts, places = self.row * length + self.pos, row * length + np.maximum(pos, 1)
        return np.searchsorted(starts, places, side="right") - 1

    def names(self, row: np.ndarray, pos: np.ndarray) -> list[str]:
        """Return the name of the document at each place: its file, and its line there."""
        number = self.at(row, pos)
        places = zip(self.file[number].tolist(), self.line[number].tolist(), strict=True)
        return [f"{self.files[file]}:{line}" if line else self.files[file] for file, line in places]

    def of_rows(self, n_rows: int) -> np.ndarray:
        """Return the number of the document in which each row begins, [row]."""
        return self.at(np.arange(n_rows), np.ones(n_rows, np.int64))

    def continued(self, n_rows: int) -> np.ndarray:
        """Return whether the text of each row goes on in the next one, [row]."""
        goes_on = np.ones(n_rows, bool)
        if self.packing == DOCUMENTS:
            goes_on[:-1] = np.diff(self.of_rows(n_rows)) == 0
        goes_on[-1:] = False
        return goes_on

    def groups(self, n_rows: int) -> tuple[str, np.ndarray]:
        """Return what a bootstrap draws, `document` or `row`, and the group of each row, [row].

        Rows that begin in the same document depend on each other, and are drawn together; where there are fewer than
        `LEAST_DOCUMENTS` of these, rows are drawn.
        """
        begun = self.of_rows(n_rows)
        if len(np.unique(begun)) < LEAST_DOCUMENTS:
            return "row", np.arange(n_rows)
        return "document", begun


def add_documents(writer: "Writer", documents: Documents) -> None:
    """Add the fields that say which document stands where."""
    for name in ("row", "pos", "file", "line"):
        writer.add(f"document_{name}", getattr(documents, name))
    writer.add("file", list(documents.files))


def packing_of(documents: Documents) -> Mapping[str, Any]:
    """Return the attribute that stands beside the fields."""
    return {"packing": documents.packing}
