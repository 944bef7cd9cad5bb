"""Neurons of a sweep in reduced precision that are measured again in float32, and what that says of the others.

The largest are measured again because a study reports them, and others, drawn by chance, because they show how far off
the rest may be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from an_neuron.files.schema import Field

if TYPE_CHECKING:
    from an_neuron.files.hdf5 import Table

SMALL = 1e-3
"""Below this recovery the error is given as such, above it as a share of the recovery."""
RECOVERY = "0 = patch did nothing, 1 = clean restored"
FIELDS = {
    "again_layer": Field("again", "int32", "", "layer of the neurons that were measured again in float32"),
    "again_index": Field("again", "int32", "", "their number in the layer"),
    "again_drawn": Field("again", "bool", "", "drawn by chance; the others are the largest"),
    "again_reduced": Field("again", "float32", RECOVERY, "their recovery in the reduced precision"),
    "again_recovery": Field("again", "float32", RECOVERY, "their recovery in float32, as this file has it"),
}
PRECISION = {
    "precision": "of most products: highest (float32), high (TF32) or bfloat16; all that was measured again is float32"
}
ERRORS = {
    **PRECISION,
    "measured_again": "how many neurons were measured again in float32: the largest, and some drawn by chance",
    "error_median": f"median error of the reduced precision, as a share of recoveries above {SMALL}; NaN if none",
    "error_99": "99th percentile of the same",
    "error_below": f"largest error of the reduced precision of recoveries below {SMALL}; NaN if none",
}


@dataclass(frozen=True)
class Again:
    """Neurons of a sweep that were measured again in float32.

    Attributes
    ----------
    layer, index
        Which, [neuron].
    drawn
        Whether each was drawn by chance; the others are the largest, [neuron].
    reduced, recovery
        Recovery of each in the reduced precision and in float32, [neuron].
    """

    layer: np.ndarray
    index: np.ndarray
    drawn: np.ndarray
    reduced: np.ndarray
    recovery: np.ndarray


NOTHING = Again(*(np.zeros(0, dtype=kind) for kind in ("int32", "int32", "bool", "float32", "float32")))


def errors(again: Again, precision: str) -> dict[str, Any]:
    """Return the attributes `ERRORS`."""
    off, size = np.abs(again.reduced - again.recovery), np.abs(again.recovery)
    shares, below = off[size > SMALL] / size[size > SMALL], off[size <= SMALL]
    median, most = (float(np.quantile(shares, q)) if len(shares) else float("nan") for q in (0.5, 0.99))
    least = float(below.max()) if len(below) else float("nan")
    number = len(again.layer)
    return {
        "precision": precision, "measured_again": number,
        "error_median": median, "error_99": most, "error_below": least,
    }  # fmt: skip


def precision_sentence(attributes: Mapping[str, Any]) -> str:
    """Say, by the attributes `ERRORS`, how exact the values of a sweep are; nothing where all of them are float32."""
    if attributes["precision"] == "highest":
        return ""
    return (
        f"Most products are in {attributes['precision']}, which puts values above {SMALL} off by "
        f"{attributes['error_median']:.1%} (median); {attributes['measured_again']:,} neurons, the largest among them, "
        "were measured in float32."
    )


def fields_of(again: Again) -> dict[str, np.ndarray]:
    """Return the values of `FIELDS`."""
    return {f"again_{name}": values for name, values in vars(again).items()}


def read_again(table: "Table") -> Again:
    """Return what was measured again, of a file with `FIELDS`."""
    return Again(*(table[name] for name in FIELDS))


def together(parts: Sequence[Again]) -> Again:
    """Return what was measured again in several sweeps."""
    return Again(*(np.concatenate(values) for values in zip(*(vars(part).values() for part in parts), strict=True)))


def in_float32(table: "Table") -> np.ndarray:
    """Return which neurons of a sweep's consecutive layers have a float32 value, [layer, d_mlp]."""
    exact = np.full(table["recovery"].shape, table.attributes["precision"] == "highest")
    exact[table["again_layer"] - table["layer"][0], table["again_index"]] = True
    return exact
