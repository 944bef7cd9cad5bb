"""The choice of the studied neuron."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from an_neuron.errors import DamagedFileError, UserError
from an_neuron.files.schema import Schema
from an_neuron.files.sealed import read_json, write_json

if TYPE_CHECKING:
    from an_neuron.files.hdf5 import Table

NEURON = Schema("neuron.json", "the studied neuron: layer, index and recovery")


def best_neuron(tables: "Iterable[Table]") -> dict[str, int | float]:
    """Return layer, index and recovery of the neuron with the largest recovery in the sweeps of some layers.

    Raises
    ------
    UserError
        If a recovery is not a finite number.
    """
    bests = []
    for table in tables:
        if not np.isfinite(table["recovery"]).all():
            raise UserError(f"{table.path} has a recovery that is not a finite number; the weights may be damaged.")
        row, best = np.unravel_index(table["recovery"].argmax(), table["recovery"].shape)
        bests.append((float(table["recovery"][row, best]), int(table["layer"][row]), int(best)))
    recovery, layer, index = max(bests)
    return {"layer": layer, "index": index, "recovery": round(recovery, 6)}


def select_neuron(paths: Iterable[str | Path], out: str | Path) -> None:
    """Write the best neuron of some sweeps, patching/neurons/layers_….h5, as JSON."""
    from an_neuron.files import hdf5  # Snakemake reads this module as it starts, and no table

    write_json(out, best_neuron(hdf5.read(path) for path in paths))


def read_neuron(path: str | Path) -> tuple[int, int]:
    """Return layer and index of the neuron in neuron.json.

    Raises
    ------
    DamagedFileError
        If the file is missing, damaged, or names no neuron.
    """
    chosen = read_json(path)
    match chosen:
        case {"layer": int(layer), "index": int(index)} if min(layer, index) >= 0 and bool not in map(
            type, (layer, index)
        ):
            return layer, index
    raise DamagedFileError(path, "names no layer and index of a neuron")
