"""A streaming summary of a corpus pass: counts by bin, and the most activating places.

Memory does not depend on the corpus, and the summaries of parts of a corpus add up to exactly that of the whole.

A signed neuron, whose negative activations write as well, has mirrored bins: as many below 0 as above it, one for 0
itself between them, and the places at the negative end besides.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import h5py
import numpy as np

from an_neuron.corpus.recorded import WHOLE_NUMBERS
from an_neuron.files.hdf5 import Writer
from an_neuron.files.schema import Field

N_EXAMPLES = 20
"""How many of the most activating places are kept, at each end."""
UNIT = 2.0**-20
"""To what activations are rounded before they are summed up."""
STEPS = 32
"""Bins of activation in an octave; like floating-point numbers, they are of equal width within it."""


def octaves(low: int, high: int, steps: int) -> np.ndarray:
    """Return bin edges from 2**low to 2**high, with equal steps inside each octave."""
    starts = 2.0 ** np.arange(low, high)
    return np.append((starts[:, None] * (1 + np.arange(steps) / steps)).ravel(), 2.0**high)


ACTIVATION_EDGES = np.concatenate([[-np.inf, 0.0], octaves(-8, 16, STEPS), [np.inf]])
"""Edges of the activation's bins. The first bin holds all that is not positive; a bin holds its upper edge.

Those of a signed neuron are mirrored at 0, and hold the edge that is farther from 0.
"""
OCTAVE_EDGES = np.concatenate([[-np.inf, 0.0], octaves(-8, 16, 1), [np.inf]])
"""Edges of the coarser bins in which predictions are counted."""
_MARGINS = octaves(-4, 8, 8)
MARGIN_EDGES = np.concatenate([[-np.inf], -_MARGINS[::-1], [0.0], _MARGINS, [np.inf]])
"""Edges of the margin's bins; those above 0 hold the places at which the token is the top prediction."""
N_BINS = len(ACTIVATION_EDGES) - 1
FIRST_TOP = len(_MARGINS) + 1
"""The first margin bin above 0."""


def bins(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bin of each value: edge < value <= next edge; the first edge is minus infinity."""
    return np.searchsorted(edges, values, side="left") - 1


def sided_bins(values: np.ndarray, edges: np.ndarray, signed: bool) -> np.ndarray:
    """Return the bin of each activation: `bins`, or for a signed neuron its mirror image, with 0 in the middle."""
    if not signed:
        return bins(values, edges)
    return len(edges) - 2 + np.sign(values).astype(int) * bins(np.abs(values), edges)


def above(count: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return the bins of positive activation, ascending: the last ones, whether there are mirrored ones or not."""
    return count[len(count) - len(edges) + 2 :]


def below(count: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Return a signed neuron's bins of negative activation, from 0 on downwards: as `above` of -activation."""
    return count[: len(edges) - 2][::-1]


@dataclass
class Places:
    """Places of a corpus, each [place]."""

    activation: np.ndarray
    margin: np.ndarray
    row: np.ndarray
    pos: np.ndarray
    top_prediction: np.ndarray

    def best(self, sign: int = 1, number: int = N_EXAMPLES) -> "Places":
        """Return those of the largest sign * activation, best first; of equal ones the first in the corpus."""
        return self.of(np.lexsort((self.pos, self.row, -sign * self.activation))[:number])

    def of(self, which: np.ndarray) -> "Places":
        """Return the places at these indices, or where this mask is true."""
        return Places(*(part[which] for part in self.parts()))

    def joined(self, other: "Places") -> "Places":
        """Return the places of both."""
        return Places(*(np.concatenate(both) for both in zip(self.parts(), other.parts(), strict=True)))

    def parts(self) -> Iterator[np.ndarray]:
        """Yield the columns."""
        return (getattr(self, field.name) for field in fields(self))


def no_places() -> Places:
    """Return no places."""
    real, whole = np.empty(0, np.float32), np.empty(0, np.int32)
    return Places(real, real, whole, whole, whole)


class Summary:
    """Counts and most activating places of one association.

    Parameters
    ----------
    d_vocab
        Size of the vocabulary.
    signed
        Whether negative activations write as positive ones do.

    Attributes
    ----------
    count
        How many tokens have an activation and a margin in these bins, [activation bin, margin bin].
    prediction_count
        How many have an activation in this octave and this top prediction, [octave, d_vocab].
    places
        The most activating places.
    lowest
        Those of the lowest activations, of a signed neuron.
    total
        Sum of the activations but those of BOS, each rounded to a multiple of `UNIT`: up to 8e9 exact, in any order.
    """

    def __init__(self, d_vocab: int, signed: bool = False) -> None:
        self.signed = signed
        n_bins, n_octaves = N_BINS, len(OCTAVE_EDGES) - 1
        if signed:
            n_bins, n_octaves = 2 * n_bins - 1, 2 * n_octaves - 1
        self.count = np.zeros((n_bins, len(MARGIN_EDGES) - 1), np.int64)
        self.prediction_count = np.zeros((n_octaves, d_vocab), np.int64)
        self.places, self.lowest = no_places(), no_places()
        self.total = 0.0

    def add(self, activation: np.ndarray, margin: np.ndarray, top_prediction: np.ndarray, first_row: int) -> None:
        """Add the next rows, each [row, pos]; first_row says where in the corpus they begin."""
        np.add.at(self.count, (sided_bins(activation, ACTIVATION_EDGES, self.signed), bins(margin, MARGIN_EDGES)), 1)
        self.total += float(np.rint(activation[:, 1:].astype(np.float64) / UNIT).sum() * UNIT)
        np.add.at(self.prediction_count, (sided_bins(activation, OCTAVE_EDGES, self.signed), top_prediction), 1)
        row, pos = np.indices(activation.shape, dtype=np.int32)
        columns = (activation, margin, row + np.int32(first_row), pos, top_prediction)
        every = Places(*(column.ravel() for column in columns))
        self._keep_largest(every.of(_candidates(every.activation, N_EXAMPLES)))
        if self.signed:
            self._keep_lowest(every.of(_candidates(-every.activation, N_EXAMPLES)))

    def merge(self, other: "Summary") -> None:
        """Add the summary of another part of the corpus."""
        self.count += other.count
        self.total += other.total
        self.prediction_count += other.prediction_count
        self._keep_largest(other.places)
        self._keep_lowest(other.lowest)

    def _keep_largest(self, more: Places) -> None:
        self.places = self.places.joined(more).best()

    def _keep_lowest(self, more: Places) -> None:
        self.lowest = self.lowest.joined(more).best(-1)


def _candidates(activation: np.ndarray, number: int) -> np.ndarray:
    """Return the indices of all values that are at least the number-th largest, without sorting the others."""
    if len(activation) <= number:
        return np.arange(len(activation))
    return np.flatnonzero(activation >= np.partition(activation, -number)[-number])


def _place_fields(prefix: str, axes: str, where: str) -> dict[str, Field]:
    """Return the fields of places: the columns of `Places`."""
    return {
        f"{prefix}_activation": Field(axes, "float32", "", where, optional=True),
        f"{prefix}_margin": Field(axes, "float32", "logits", "the token's margin there", optional=True),
        f"{prefix}_row": Field(axes, "int32", "", "row of the corpus", optional=True),
        f"{prefix}_pos": Field(axes, "int32", "", "position in the row", optional=True),
        f"{prefix}_top_prediction": Field(axes, "int32", "token id", "most likely next token there", optional=True),
    }


SUMMARY_FIELDS = {
    "count": Field(
        "association activation_bin margin_bin",
        "int64",
        "tokens",
        "tokens of the corpus in these bins; of signed neurons bins below 0 come first",
        optional=True,
    ),
    "prediction_count": Field(
        "association octave d_vocab",
        "int64",
        "tokens",
        "tokens with an activation in this octave, by top prediction; of signed neurons octaves below 0 come first",
        optional=True,
    ),
    "activation_total": Field(
        "association", "float64", "", "sum of the neuron's activations, BOS left out", optional=True
    ),
    **_place_fields("place", "association place", "at the most activating places, best first"),
    **_place_fields(
        "lowest",
        "association lowest_place",
        "of signed neurons: at the places of the lowest activations, lowest first",
    ),
}
COLUMNS = tuple(field.name for field in fields(Places))


def add_summaries(writer: Writer, summaries: Sequence[Summary]) -> None:
    """Add the summary of each association."""
    writer.add("count", [summary.count for summary in summaries], **WHOLE_NUMBERS)
    writer.add("prediction_count", [summary.prediction_count for summary in summaries], **WHOLE_NUMBERS)
    writer.add("activation_total", [summary.total for summary in summaries])
    for name in COLUMNS:
        writer.add(f"place_{name}", [getattr(summary.places, name) for summary in summaries])
        if all(summary.signed for summary in summaries):
            writer.add(f"lowest_{name}", [getattr(summary.lowest, name) for summary in summaries])


def read_summary(file: h5py.File, number: int) -> Summary:
    """Return the summary of an association by its number."""
    summary = Summary(file["prediction_count"].shape[-1], bool(file.attrs["signed"]))
    summary.count = file["count"][number]
    summary.prediction_count = file["prediction_count"][number]
    summary.total = float(file["activation_total"][number])
    summary.places = Places(*(file[f"place_{name}"][number] for name in COLUMNS))
    if summary.signed:
        summary.lowest = Places(*(file[f"lowest_{name}"][number] for name in COLUMNS))
    return summary
