"""The choice of the studied neuron."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from an_neuron.errors import DamagedFileError, UserError
from an_neuron.files.schema import Schema
from an_neuron.files.sealed import read_json, write_json
from an_neuron.patching.screened import measured, read_screened

if TYPE_CHECKING:
    from an_neuron.files.hdf5 import Table

NEURON = Schema("neuron.json", "the studied neuron: layer, index and recovery; after a screen, the best of how many")


def best_neuron(tables: "Iterable[Table]") -> dict[str, int | float]:
    """Return layer, index and recovery of the neuron with the largest recovery in the sweeps of some layers.

    Where a screen chose which neurons were patched, `patched` and `of` say how many of how many.

    Raises
    ------
    UserError
        If a recovery is not a finite number.
    """
    bests, patched, of = [], 0, 0
    for table in tables:
        there = measured(table)
        if not np.isfinite(table["recovery"][there]).all():
            raise UserError(f"{table.path} has a recovery that is not a finite number; the weights may be damaged.")
        recovery = np.where(there, table["recovery"], -np.inf)
        row, best = np.unravel_index(recovery.argmax(), recovery.shape)
        bests.append((float(recovery[row, best]), int(table["layer"][row]), int(best)))
        patched, of = patched + int(there.sum()), max(of, read_screened(table).of)
    largest, layer, index = max(bests)
    chosen = {"layer": layer, "index": index, "recovery": round(largest, 6)}
    return chosen | ({"patched": patched, "of": of} if of else {})


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
