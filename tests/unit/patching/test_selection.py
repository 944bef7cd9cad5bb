import json

import numpy as np
import pytest

from an_neuron.errors import DamagedFileError, UserError
from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.files.sealed import write_text
from an_neuron.patching.screened import EVERY, FIELDS, OF, Screened, fields_of
from an_neuron.patching.selection import best_neuron, read_neuron, select_neuron

SWEEP = Schema(
    "layers.h5",
    "what a choice reads of a sweep",
    {
        "recovery": Field("layer d_mlp", "float32", "", ""),
        "layer": Field("layer", "int32", "", ""),
        **FIELDS,
    },
    {"screened_of": OF},
)


@pytest.fixture
def sweeps(tmp_path):
    """Write sweeps of some layers, and return their files."""

    def write(recoveries, chosen=EVERY):
        paths = []
        for layer, values in recoveries.items():
            paths.append(tmp_path / f"layer_{layer}.h5")
            swept = {"recovery": np.array([values]), "layer": [layer], **fields_of(chosen.within([layer]))}
            hdf5.write(paths[-1], SWEEP, swept, {"screened_of": chosen.of})
        return paths

    return write


def best(paths):
    return best_neuron(hdf5.read(path) for path in paths)


def test_the_largest_recovery_of_all_layers_is_chosen(sweeps):
    paths = sweeps({4: [0.1, -0.9, 0.25], 7: [0.0, 0.5, 0.5 - 1e-3], 9: [0.3, 0.2, 0.1]})
    assert best(paths) == {"layer": 7, "index": 1, "recovery": 0.5}
    assert best(reversed(paths)) == best(paths)


def test_a_neuron_that_makes_things_worse_is_not_chosen(sweeps):
    assert best(sweeps({0: [-0.5, -0.25], 1: [-0.125, -3.0]})) == {"layer": 1, "index": 0, "recovery": -0.125}


def test_a_recovery_that_is_no_number_is_refused(sweeps):
    with pytest.raises(UserError, match=r"layer_1\.h5 has a recovery that is not a finite number"):
        best(sweeps({0: [0.5, 0.1], 1: [0.2, np.nan]}))


def test_after_a_screen_the_best_of_those_that_were_patched_is_chosen_and_their_number_told(sweeps):
    nothing = np.nan
    chosen = Screened(np.array([0, 1]), np.array([1, 0]), np.array([False, True]), of=6)
    paths = sweeps({0: [nothing, 0.25], 1: [0.5, nothing], 2: [nothing, nothing]}, chosen)
    assert best(paths) == {"layer": 1, "index": 0, "recovery": 0.5, "patched": 2, "of": 6}
    with pytest.raises(UserError, match=r"layer_0\.h5 has a recovery that is not a finite number"):
        best(sweeps({0: [0.5, nothing]}, chosen))


def test_the_choice_is_written_as_json(sweeps, tmp_path):
    select_neuron(sweeps({2: [0.1, 0.75]}), tmp_path / "chosen" / "neuron.json")
    text = (tmp_path / "chosen" / "neuron.json").read_text()
    assert json.loads(text) == {"layer": 2, "index": 1, "recovery": 0.75}
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", "{}", '{"layer": 2}', '{"layer": "2", "index": 1}', '{"layer": true, "index": 1}', "[" * 9999],
)
def test_a_file_that_names_no_neuron_is_named(tmp_path, content):
    path = tmp_path / "neuron.json"
    write_text(path, content)
    with pytest.raises(DamagedFileError, match=r"neuron\.json (names no layer|is no JSON)"):
        read_neuron(path)


def test_another_neuron_than_the_chosen_one_is_noticed(sweeps, tmp_path):
    path = tmp_path / "neuron.json"
    select_neuron(sweeps({2: [0.1, 0.75]}), path)
    assert read_neuron(path) == (2, 1)
    path.write_text(path.read_text().replace('"index": 1', '"index": 0'))
    with pytest.raises(DamagedFileError, match=r"neuron\.json is damaged"):
        read_neuron(path)


def test_a_damaged_sweep_leaves_no_choice(tmp_path):
    (tmp_path / "layer_0.h5").write_bytes(b"broken")
    with pytest.raises(UserError, match=r"layer_0\.h5"):
        select_neuron([tmp_path / "layer_0.h5"], tmp_path / "neuron.json")
    assert not (tmp_path / "neuron.json").exists()
