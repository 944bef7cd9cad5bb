"""Which neurons a screen chose to be patched, and what those drawn at random say of the others.

A screen measures the neurons that attribution puts first, and a random sample of the others. The bound on what is left
is exact, whatever the effects are like and however bad the ranking is: it is a confidence limit for sampling without
replacement (hypergeometric).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from an_neuron.errors import UserError
from an_neuron.files.schema import Field, Schema

if TYPE_CHECKING:
    from an_neuron.files.hdf5 import Table

RANK, CONFIDENCE = 10, 0.95
"""The threshold is the recovery of this rank among the neurons that attribution puts first; and that of the bound."""
CONFIDENCE_SAID = f"{100 * CONFIDENCE:.0f} %"
CHOSEN = {
    "layer": "layer of each neuron that a screen chose",
    "index": "its number in the layer",
    "drawn": "whether it was drawn at random of those that attribution does not put first",
}
KINDS = {"layer": "int32", "index": "int32", "drawn": "bool"}
OF = "of how many neurons a screen chose those that were patched; 0 where every one was patched"
SCREENED = Schema(
    "patching/neurons/screened.h5",
    "the neurons that a screen chose to be patched",
    {name: Field("screened", KINDS[name], "", what) for name, what in CHOSEN.items()},
    {"screened_of": OF},
)
FIELDS = {f"screened_{name}": Field("screened", KINDS[name], "", what) for name, what in CHOSEN.items()}
SCREENING = {
    "screened": "how many neurons were patched because attribution puts them first; 0 where every one was patched",
    "drawn": "how many of the others, drawn at random, were patched",
    "unmeasured": "how many were not patched",
    "least": f"the absolute recovery of rank {RANK} of those that attribution puts first, or rounding if that is more",
    "exceeding": "how many of those drawn exceed it",
    "at_most": f"how many of those not patched exceed it at most, with {CONFIDENCE_SAID} confidence",
}


@dataclass(frozen=True)
class Screened:
    """Neurons that a screen chose.

    Attributes
    ----------
    layer, index
        Which, [neuron].
    drawn
        Whether each was drawn at random; the others are those that attribution puts first, [neuron].
    of
        How many neurons they were chosen of; 0 where there was no screen, and every neuron was patched.
    """

    layer: np.ndarray
    index: np.ndarray
    drawn: np.ndarray
    of: int

    def neurons(self) -> list[tuple[int, int]]:
        """Return layer and index of each."""
        return list(zip(self.layer.tolist(), self.index.tolist(), strict=True))

    def within(self, layers: Sequence[int]) -> "Screened":
        """Return those of some layers."""
        there = np.isin(self.layer, list(layers))
        return Screened(self.layer[there], self.index[there], self.drawn[there], self.of)


EVERY = Screened(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, bool), 0)


@dataclass(frozen=True)
class Bound:
    """What those drawn say of the neurons that were not patched.

    Attributes
    ----------
    least
        The absolute recovery that counts.
    exceeding
        How many of those drawn exceed it.
    at_most
        How many of those not patched do, at most, with the confidence asked for.
    """

    least: float
    exceeding: int
    at_most: int


def bound(
    recovery: np.ndarray,
    drawn: np.ndarray,
    of: int,
    floor: float,
    least: float | None = None,
    rank: int = RANK,
    confidence: float = CONFIDENCE,
) -> Bound:
    """Return how many of the neurons that were not patched exceed a recovery at most.

    Parameters
    ----------
    recovery
        Of each neuron that was patched, [neuron].
    drawn
        Whether each was drawn, [neuron].
    of
        How many neurons there are.
    floor
        Below it a recovery is rounding.
    least
        The absolute recovery that counts; if None, that of rank `rank` (or the last) among those that were not drawn,
        or the floor where that is more.
    """
    effects = np.nan_to_num(np.abs(recovery), nan=np.inf, posinf=np.inf)  # what overflows is an effect
    first = np.sort(effects[~drawn])[::-1]
    least = max(floor, float(first[min(rank, len(first)) - 1])) if least is None else least
    exceeding = int((effects[drawn] > least).sum())
    at_most = most_exceeding(exceeding, int(drawn.sum()), of - len(first), confidence) - exceeding
    return Bound(least, exceeding, at_most)


def most_exceeding(exceeding: int, sample: int, of: int, confidence: float = CONFIDENCE) -> int:
    """Return the upper confidence limit of how many of a population are of a kind, from a sample without replacement.

    It is the largest number with which so few, or fewer, in the sample would be seen with a chance of more than
    1 - confidence; one-sided, and exact (Clopper and Pearson's, of the hypergeometric distribution).

    Parameters
    ----------
    exceeding
        How many of the sample are of the kind.
    sample
        How many were drawn, each set of so many being equally likely.
    of
        How many the population has, with those drawn.
    confidence
        Between 0 and 1.

    Returns
    -------
    int
        The limit, with those in the sample.

    Raises
    ------
    UserError
        If more are of the kind than were drawn, or more drawn than there are.
    """
    from scipy.stats import hypergeom  # a second of each start; what only reads a screen needs none

    if not 0 <= exceeding <= sample <= of:
        raise UserError(f"Of {of} neurons {sample} were drawn, and {exceeding} of them exceed: that cannot be.")
    low, high = exceeding, of - sample + exceeding  # the least that is possible, and the most
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeom.cdf(exceeding, of, middle, sample) > 1 - confidence:
            low = middle
        else:
            high = middle - 1
    return low


def write_screened(path: str | Path, screened: Screened, attributes: Mapping[str, Any]) -> None:
    """Write patching/neurons/screened.h5."""
    from an_neuron.files import hdf5

    values = {name: getattr(screened, name) for name in CHOSEN}
    hdf5.write(path, SCREENED, values, {**attributes, "screened_of": screened.of})


def read_screened(table: "Table") -> Screened:
    """Return the neurons of patching/neurons/screened.h5, or of a sweep's file with `FIELDS`."""
    prefix = "screened_" if "screened_layer" in table.datasets else ""
    layer, index, drawn = (table[f"{prefix}{name}"] for name in CHOSEN)
    return Screened(layer, index, drawn, int(table.attributes["screened_of"]))


def fields_of(screened: Screened) -> dict[str, np.ndarray]:
    """Return the values of `FIELDS`."""
    return {f"screened_{name}": getattr(screened, name) for name in CHOSEN}


def together(parts: Sequence[Screened]) -> Screened:
    """Return the neurons of several sweeps."""
    layer, index, drawn = (np.concatenate([getattr(part, name) for part in parts]) for name in CHOSEN)
    return Screened(layer, index, drawn, max(part.of for part in parts))


def measured(table: "Table") -> np.ndarray:
    """Return which neurons of a sweep's consecutive layers were patched, [layer, d_mlp]."""
    screened = read_screened(table)
    there = np.full(table["recovery"].shape, not screened.of)
    there[screened.layer - table["layer"][0], screened.index] = True
    return there


def screening(screened: Screened, recovery: np.ndarray, floor: float) -> dict[str, Any]:
    """Return the attributes `SCREENING`.

    Parameters
    ----------
    recovery
        Of each of the neurons, [neuron]; of none where every neuron was patched.
    floor
        Below it a recovery is rounding.
    """
    if not screened.of:
        return {**dict.fromkeys(SCREENING, 0), "least": float("nan")}
    found, n_drawn = bound(recovery, screened.drawn, screened.of, floor), int(screened.drawn.sum())
    counts = {"screened": len(screened.drawn) - n_drawn, "drawn": n_drawn}
    return {**counts, "unmeasured": screened.of - len(screened.drawn), **vars(found)}


def screening_sentence(attributes: Mapping[str, Any]) -> str:
    """Say, by the attributes `SCREENING`, which neurons were patched; nothing where every one was."""
    if not attributes.get("screened", 0):
        return ""
    first, drawn, left = (int(attributes[name]) for name in ("screened", "drawn", "unmeasured"))
    return (
        f"{first + drawn:,} of {first + drawn + left:,} neurons were patched: the {first:,} that attribution puts "
        f"first, or the study names, and {drawn:,} of the others, drawn at random."
    )


def bound_sentence(attributes: Mapping[str, Any]) -> str:
    """Say, by the attributes `SCREENING`, what may have been missed; nothing where every neuron was patched."""
    if not attributes.get("screened", 0):
        return ""
    exceeding, rank = int(attributes["exceeding"]), min(RANK, int(attributes["screened"]))
    exceed = f"{exceeding:,} exceed" if exceeding > 1 else f"{exceeding or 'none'} exceeds"
    return (
        f"Of the neurons drawn at random {exceed} an absolute recovery of {float(attributes['least']):.3g} (number "
        f"{rank} among those that attribution puts first, or rounding where that is more): with {CONFIDENCE_SAID} "
        f"confidence at most {int(attributes['at_most']):,} of the {int(attributes['unmeasured']):,} that were not "
        "patched do."
    )
