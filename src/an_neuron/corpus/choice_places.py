"""The places of a corpus where answer or foil is to be expected, held by a summary: all of them, or an even sample.

Each place has a number of its own that looks drawn by chance, a hash of where it is; the lowest are held. So the
places held of the parts of a corpus add up to exactly those of the whole, and each place is as likely as any other.
"""

from dataclasses import dataclass, fields

import h5py
import numpy as np

from an_neuron.corpus.recorded import Recorded
from an_neuron.files.hdf5 import Writer
from an_neuron.files.schema import Field

LEAST_EXPECTED = 0.2
"""What p(answer) + p(foil) is above at these places."""
MOST_PLACES = 50_000
"""How many are held at most: a megabyte."""


@dataclass
class ChoicePlaces:
    """Places held, [place], in the order of the corpus, and how many there are in all.

    Attributes
    ----------
    total
        How many places there are, held or not.
    row, pos
        Where.
    activation
        Of the first association's neuron.
    logit_difference
        logit(answer) - logit(foil).
    expected
        p(answer) + p(foil).
    """

    total: int
    row: np.ndarray
    pos: np.ndarray
    activation: np.ndarray
    logit_difference: np.ndarray
    expected: np.ndarray

    @classmethod
    def of(cls, recorded: Recorded, first_row: int) -> "ChoicePlaces":
        """Return those of recorded rows, of which the first is `first_row`; none where there is no foil."""
        if recorded.expected is None or recorded.logit_difference is None:
            return cls(0, *(np.empty(0, np.float32) for _ in COLUMNS))
        row, pos = np.nonzero(recorded.expected > LEAST_EXPECTED)
        values = (recorded.activation[0], recorded.logit_difference, recorded.expected)
        return cls(len(row), row + first_row, pos, *(value[row, pos] for value in values))._thinned()

    def merged(self, other: "ChoicePlaces") -> "ChoicePlaces":
        """Return those of both parts of a corpus."""
        columns = (np.concatenate([getattr(self, name), getattr(other, name)]) for name in COLUMNS)
        return ChoicePlaces(self.total + other.total, *columns)._thinned()

    def _thinned(self) -> "ChoicePlaces":
        held = np.argsort(_numbers(self.row, self.pos), kind="stable")[:MOST_PLACES]
        order = held[np.lexsort((self.pos[held], self.row[held]))]
        return ChoicePlaces(self.total, *(getattr(self, name)[order] for name in COLUMNS))


COLUMNS = tuple(field.name for field in fields(ChoicePlaces) if field.name != "total")
CHOICE_FIELDS = {
    "choice_total": Field(
        "",
        "int64",
        "tokens",
        f"with `keep: summary`: at how many places p(answer) + p(foil) > {LEAST_EXPECTED}",
        optional=True,
    ),
    "choice_row": Field(
        "choice_place",
        "int32",
        "",
        f"row of such a place: of all, or of {MOST_PLACES:,} that are evenly drawn",
        optional=True,
    ),
    "choice_pos": Field("choice_place", "int32", "", "position in the row", optional=True),
    "choice_activation": Field(
        "choice_place", "float32", "", "activation of the first association's neuron there", optional=True
    ),
    "choice_logit_difference": Field("choice_place", "float32", "logits", "logit(answer) - logit(foil)", optional=True),
    "choice_expected": Field("choice_place", "float32", "1", "p(answer) + p(foil)", optional=True),
}


def add_choice_places(writer: Writer, places: ChoicePlaces) -> None:
    """Add the places that a summary holds."""
    for name in ("total", *COLUMNS):
        writer.add(f"choice_{name}", getattr(places, name))


def read_choice_places(file: h5py.File) -> ChoicePlaces:
    """Return what `add_choice_places` added to a file."""
    return ChoicePlaces(int(file["choice_total"][()]), *(file[f"choice_{name}"][:] for name in COLUMNS))


def _numbers(row: np.ndarray, pos: np.ndarray) -> np.ndarray:
    """Return a number for each place, another for each, that looks drawn by chance: splitmix64 of where it is."""
    number = (row.astype(np.uint64) << np.uint64(32)) + pos.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        number = (number ^ (number >> np.uint64(shift))) * np.uint64(factor)
    return number ^ (number >> np.uint64(31))
