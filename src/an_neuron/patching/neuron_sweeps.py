"""The neuron sweeps of many layers, read from their files and put together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from an_neuron.files import hdf5
from an_neuron.patching import screened
from an_neuron.patching.again import errors, in_float32, read_again, together
from an_neuron.patching.rounding import rounding_floor
from an_neuron.patching.screened import Screened, read_screened, screening
from an_neuron.patching.sweep_files import COMPARED, NEURONS

CHECKED = {
    "spot_checks": "how many values were measured again by ordinary forwards",
    "rounding": "the largest difference of one of them, in logits; NaN if there is none",
}


@dataclass(frozen=True)
class NeuronSweeps:
    """The neuron sweeps of some layers.

    Attributes
    ----------
    layers
        The layers, ascending.
    recovery
        [layer, d_mlp]; NaN of the neurons that a screen left out.
    clean, corrupted
        Logit differences without a patch, [prompt_pair].
    attributes
        Those that name answer and foil, and those of `CHECKED`, `again.ERRORS` and `screened.SCREENING`.
    in_float32
        Which values are float32, [layer, d_mlp]; the others are in a lower precision, or there is none.
    screened
        The neurons that a screen chose; none where every one was patched.
    """

    layers: list[int]
    recovery: Tensor
    clean: Tensor
    corrupted: Tensor
    attributes: dict[str, Any]
    in_float32: Tensor
    screened: Screened

    @property
    def lengths(self) -> dict[str, int]:
        """How long the axes of files of all these neurons are."""
        return dict(zip(("layer", "d_mlp"), self.recovery.shape, strict=True))


def gather(paths: Iterable[str | Path]) -> NeuronSweeps:
    """Read the sweeps of some layers, patching/neurons/layers_….h5, in the order of their layers."""
    tables = sorted((hdf5.read(path, NEURONS) for path in paths), key=lambda table: int(table["layer"][0]))
    first, again = tables[0], together([read_again(table) for table in tables])
    reduced = {table.attributes["precision"] for table in tables} - {"highest"}
    clean, corrupted = (torch.from_numpy(first[name]) for name in ("clean", "corrupted"))
    chosen = screened.together([read_screened(table) for table in tables])
    exact = [in_float32(table) & screened.measured(table) for table in tables]
    return NeuronSweeps(
        layers=np.concatenate([table["layer"] for table in tables]).tolist(),
        recovery=torch.from_numpy(np.concatenate([table["recovery"] for table in tables])),
        clean=clean,
        corrupted=corrupted,
        attributes={
            **{key: first.attributes[key] for key in COMPARED},
            **_checked(tables),
            **errors(again, " and ".join(sorted(reduced)) or "highest"),
            **screening(chosen, _recovery_of(chosen, tables), rounding_floor(clean, corrupted)),
        },
        in_float32=torch.from_numpy(np.concatenate(exact)),
        screened=chosen,
    )


def _recovery_of(chosen: Screened, tables: Sequence[hdf5.Table]) -> np.ndarray:
    """Return the recovery of each neuron that a screen chose, [neuron]."""
    by_layer = {int(layer): table["recovery"][row] for table in tables for row, layer in enumerate(table["layer"])}
    return np.array([by_layer[layer][index] for layer, index in chosen.neurons()], dtype=np.float32)


def _checked(tables: Sequence[hdf5.Table]) -> dict[str, Any]:
    """Return how many spot checks there were, and their largest difference."""
    differences = np.concatenate(
        [np.abs(table["spot_check_logit_difference"] - table["spot_check_ordinary"]) for table in tables]
    )
    return {"spot_checks": len(differences), "rounding": float(differences.max()) if len(differences) else np.nan}
