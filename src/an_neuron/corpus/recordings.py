"""Reading one association's part of activations/associations.h5."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from an_neuron.corpus.associations import Association, names_of
from an_neuron.corpus.gathering import GATHERED
from an_neuron.corpus.recorded import ASSOCIATION_FIELDS, COUNT_FIELDS, stored_token_ids, token_places
from an_neuron.corpus.summaries import Summary, read_summary
from an_neuron.errors import DamagedFileError
from an_neuron.files.hdf5 import Table, loaded, opened

ROWS_AT_ONCE = 64
"""Rows that are put into bins at once, which takes several times their memory."""


class Recording:
    """What was recorded of one association, in an open file; each dataset is read at most once, when asked for."""

    def __init__(self, file: h5py.File, name: str) -> None:
        self.file = file
        columns = {field: loaded(file[field]) for field in (*ASSOCIATION_FIELDS, *COUNT_FIELDS) if field in file}
        names = columns["association_name"].tolist()
        if name not in names:
            raise DamagedFileError(file.filename, f"holds no association {name}, only {', '.join(names)}")
        self._number = names.index(name)
        self._place = token_places(stored_token_ids(columns))[self._number]
        self._columns = {key.removeprefix("association_"): values[self._number] for key, values in columns.items()}

    @property
    def attributes(self) -> dict[str, Any]:
        """What the file says of itself, and of the association: token, token_id, layer, index and its counts."""
        return {
            **self.file.attrs,
            "token": self._columns["token"],
            **{name: int(self._columns[name]) for name in ("token_id", "layer", "index")},
            "n_tokens": int(np.prod(self.file["token_id"].shape)),
            **{name: int(self._columns[name]) for name in COUNT_FIELDS},
        }

    @property
    def is_summary(self) -> bool:
        """Whether a summary was kept in the place of every value."""
        return str(self.file.attrs["keep"]) == "summary"

    @property
    def signed(self) -> bool:
        """Whether negative activations write as positive ones do."""
        return bool(self.file.attrs["signed"])

    @cached_property
    def activation(self) -> np.ndarray:
        """The neuron's activation, [row, pos], float32; where every value was kept."""
        return np.asarray(self.file["activation"][self._number].astype(np.float32))

    @cached_property
    def margin(self) -> np.ndarray:
        """The token's margin, [row, pos], float32; where every value was kept."""
        return np.asarray(self.file["margin"][self._place].astype(np.float32))

    @cached_property
    def top_prediction(self) -> np.ndarray:
        """The most likely next token, [row, pos]; where every value was kept."""
        return np.asarray(self.file["top_prediction"][...])

    @cached_property
    def summary(self) -> Summary:
        """The summary that was kept, or that of every value."""
        if self.is_summary:
            return read_summary(self.file, self._number)
        summary = Summary(len(self.file["vocabulary"]), self.signed)
        for start in range(0, len(self.activation), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            summary.add(self.activation[rows], self.margin[rows], self.top_prediction[rows], start)
        return summary

    def token_rows(self, rows: list[int]) -> dict[int, list[int]]:
        """Return the tokens of these rows of the corpus, as far as it has them."""
        there = sorted({row for row in rows if row < len(self.file["token_id"])})
        return dict(zip(there, self.file["token_id"][there].tolist(), strict=True)) if there else {}


@contextmanager
def recording(path: Path, name: str) -> Iterator[Recording]:
    """Open a gathered file for one of its associations.

    Raises
    ------
    DamagedFileError
        If the file or one that it looks into is missing or damaged, or it holds no such association.
    """
    with opened(path, GATHERED) as file:
        yield Recording(file, name)


def read_association(path: Path, name: str) -> Table:
    """Read every value of one association.

    Returns
    -------
    Table
        activation, margin, top_prediction and token_id, each [row, pos], and vocabulary [d_vocab]; the attributes
        layer, index, token, token_id, occurrences, top_predictions and n_tokens besides the file's.
    """
    with recording(path, name) as recorded:
        datasets = {
            "top_prediction": recorded.top_prediction,
            "token_id": loaded(recorded.file["token_id"]),
            "activation": recorded.activation,
            "margin": recorded.margin,
            "vocabulary": loaded(recorded.file["vocabulary"]),
        }
        return Table(path, datasets, recorded.attributes)


def read_means(gathered: Path, associations: Sequence[Association]) -> list[float]:
    """Read each neuron's mean activation over the corpus, BOS left out.

    Parameters
    ----------
    gathered
        activations/associations.h5.
    associations
        The associations that it must hold.

    Returns
    -------
    list of float
        Of each association.

    Raises
    ------
    DamagedFileError
        If the file holds others.
    """
    with opened(gathered, GATHERED) as file:
        if loaded(file["association_name"]).tolist() != names_of(associations):
            raise DamagedFileError(gathered, "does not hold the associations of associations.json")
        if "activation" not in file:
            n_rows, n_ctx = file["token_id"].shape
            return [total / (n_rows * (n_ctx - 1)) for total in file["activation_total"][:].tolist()]
        values = (file["activation"][number][:, 1:] for number in range(len(associations)))
        return [float(activation.astype(np.float64).mean()) for activation in values]
