"""What of a study's circuit a published value can be held against; these quantities begin with "circuit: "."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Schema
from an_neuron.patching.circuit_files import edges

CIRCUIT = "circuit: "
COMPARED_CIRCUIT = Schema("circuit/published.csv", "the circuit's values beside published ones, as in published.csv")


def of_circuit(published: pd.DataFrame, wanted: bool) -> pd.DataFrame:
    """Return the published values of a circuit, or all others."""
    return published[published["quantity"].str.startswith(CIRCUIT) == wanted]


def measure_circuit(tables: Mapping[str, Path]) -> dict[str, str | float | int]:
    """Read every quantity of a circuit from its tables.

    Parameters
    ----------
    tables
        Paths of circuit (circuit/circuit.h5), curves and areas (circuit/areas.csv), and driving_neurons
        (drivers/neurons.h5).
    """
    read = {name: hdf5.read(path) for name, path in tables.items() if name != "areas"}
    found: list[tuple[str, float | int]] = [*_nodes(read["circuit"]), *_curves(read["curves"])]
    found += [*_drivers(read["driving_neurons"]), *_areas(pd.read_csv(tables["areas"]))]
    return {f"{CIRCUIT}{name}": value for name, value in found}


def _nodes(table: Table) -> Iterator[tuple[str, float]]:
    names = [f"{name} at {position}" for name, position in zip(table["name"], table["position"], strict=True)]
    for number, name in enumerate(names):
        yield f"{name}", float(table["on_metric"][number])
        yield f"{name}, directly", float(table["direct_on_metric"][number])
    for sender, receiver in edges(table):
        yield f"{names[sender]} to {names[receiver]}", float(table["edge"][sender, receiver])


def _curves(table: Table) -> Iterator[tuple[str, float]]:
    for part in np.unique(table["part"]):
        means = table["recovery"][:, table["part"] == part].mean(1)
        for row, mean in enumerate(means.tolist()):
            yield f"best {table['k'][row]} {table['kind'][row]}, {table['ranking'][row]}, {part}", mean


def _areas(table: pd.DataFrame) -> Iterator[tuple[str, float | int]]:
    for row in table.to_dict("records"):
        name = f"{row['kind']}, {row['ranking']}"
        yield f"{name}: smallest set", int(row["smallest"])
        for measure in ("smallest_recovery", "smallest_left", "cpr_held_out", "cmd_held_out"):
            yield f"{name}: {measure.replace('_', ' ')}", float(row[measure])


def _drivers(table: Table) -> Iterator[tuple[str, float]]:
    for layer, index, recovery in zip(table["layer"], table["index"], table["recovery"], strict=True):
        yield f"{layer}.{index} on the studied neuron", float(recovery)
