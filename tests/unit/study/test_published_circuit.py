"""Which values of a circuit a published one is held against."""

import pandas as pd
import pytest

from an_neuron.files import hdf5
from an_neuron.patching.circuit_files import CIRCUIT
from an_neuron.patching.curve_files import AREAS_CSV, CURVES
from an_neuron.patching.drivers import DRIVING_NEURONS
from an_neuron.study.published_circuit import measure_circuit, of_circuit

SAID = dict.fromkeys(("study", "model", "revision", "dtype", "answer", "foil"), "x")
SAID |= {"answer_id": 1, "foil_id": 2, "neuron_layer": 1, "neuron_index": 5, "spot_checks": 1, "rounding": 0.0}


@pytest.fixture
def tables(tmp_path):
    paths = {name: tmp_path / f"{name}.h5" for name in ("circuit", "curves", "driving_neurons")}
    edge = [[0.0, 0.25], [0.0, 0.0]]
    nodes = {
        "name": ["head 0.1", "1.5"], "layer": [0, 1], "site": ["z", "post"], "index": [1, 5], "position": [-1, -1],
        "clean_token": ["a", "a"], "corrupted_token": ["a", "a"], "on_metric": [0.5, 0.75],
        "direct_on_metric": [0.125, 0.75], "total": edge, "direct": edge, "edge": edge,
    }  # fmt: skip
    hdf5.write(paths["circuit"], CIRCUIT, nodes, SAID)
    measured = {key: [[0.0, 0.0, 0.0], [0.5, 0.25, 0.75]] for key in ("recovery", "left", "faithfulness")}
    ranked = {"kind": ["neurons"] * 2, "ranking": ["exact"] * 2, "k": [0, 1], "of": [9, 9]}
    first = [[""] * 20, ["1.5", *[""] * 19]]
    parts = ["main", "held_out", "held_out"]
    hdf5.write(paths["curves"], CURVES, {**ranked, **measured, "part": parts, "first": first}, SAID)
    values = {"layer": [0], "index": [3], "recovery": [0.375], "estimate": [0.5]}
    said = {"neurons_below": 4, "largest_estimate_left_out": 0.0}
    hdf5.write(paths["driving_neurons"], DRIVING_NEURONS, values, {**SAID, **said})
    row = dict.fromkeys(AREAS_CSV.fields, 0.5) | {"kind": "neurons", "ranking": "exact", "smallest": 3}
    pd.DataFrame([row]).to_csv(tmp_path / "areas.csv", index=False)
    return {**paths, "areas": tmp_path / "areas.csv"}


def test_quantities_by_hand(tables):
    found = measure_circuit(tables)
    assert found["circuit: head 0.1 at -1"] == 0.5
    assert found["circuit: head 0.1 at -1, directly"] == 0.125
    assert found["circuit: head 0.1 at -1 to 1.5 at -1"] == 0.25
    assert found["circuit: best 1 neurons, exact, main"] == 0.5
    assert found["circuit: best 1 neurons, exact, held_out"] == 0.5  # of 0.25 and 0.75
    assert found["circuit: 0.3 on the studied neuron"] == 0.375
    assert found["circuit: neurons, exact: smallest set"] == 3
    assert found["circuit: neurons, exact: smallest left"] == 0.5


def test_a_file_of_published_values_is_divided():
    published = pd.DataFrame({"quantity": ["answer id", "circuit: 1.5 at -1"]})
    assert of_circuit(published, wanted=True)["quantity"].tolist() == ["circuit: 1.5 at -1"]
    assert of_circuit(published, wanted=False)["quantity"].tolist() == ["answer id"]
