from math import isnan

import pytest
import torch

from an_neuron.figures.neurons import attribution_fig, neuron_map_fig
from an_neuron.files import hdf5
from an_neuron.patching.attribution import attribute_neurons
from an_neuron.patching.comparison import write_attribution
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.neuron_map import top_neurons_frame, write_map, write_top_neurons
from an_neuron.patching.neuron_sweeps import gather
from an_neuron.patching.rounding import rounding_floor
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweep_files import write_neurons
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.patching.top_neurons import top_neurons
from an_neuron.prompts.pairs import PromptPair

PROMPT_PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
ANSWER, FOIL = 3, 7
NAMES = {"answer": "c", "foil": "g", "answer_id": ANSWER, "foil_id": FOIL}


@pytest.fixture
def swept(tiny_gpt2, tmp_path):
    """Write the sweeps of both layers of a model, the last layer first; return their paths and the whole sweep."""
    sweep = patch_neurons(tiny_gpt2.raw, [PROMPT_PAIR], LogitDifference(ANSWER, FOIL))
    paths = [tmp_path / f"layers_{layer}-{layer}.h5" for layer in (1, 0)]
    for path, layer in zip(paths, (1, 0), strict=True):
        of_layer = patch_neurons(tiny_gpt2.raw, [PROMPT_PAIR], LogitDifference(ANSWER, FOIL), [layer])
        write_neurons(path, of_layer, [layer], NAMES)
    return paths, sweep


def test_sweeps_are_gathered_by_layer(swept):
    paths, sweep = swept
    sweeps = gather(paths)
    assert sweeps.layers == [0, 1]
    torch.testing.assert_close(sweeps.recovery, sweep.recovery)
    assert sweeps.attributes["answer"] == "c"


def test_top_neurons_are_those_of_the_largest_recovery_with_their_tokens(tiny_gpt2, swept):
    sweeps = gather(swept[0])
    model = tiny_gpt2.processed
    change = torch.ones(2, 24)
    top = top_neurons(model, tiny_gpt2.tokenizer, sweeps.layers, sweeps.recovery, change)
    flat = sorted(
        ((abs(float(sweeps.recovery[layer, neuron])), layer, neuron) for layer in range(2) for neuron in range(24)),
        key=lambda place: -place[0],
    )
    assert list(zip(top.layer, top.index, strict=True)) == [place[1:] for place in flat[:10]]
    assert top.recovery[0] == pytest.approx(float(sweeps.recovery[flat[0][1], flat[0][2]]))
    written = model.blocks[top.layer[0]].mlp.W_out[top.index[0]] @ model.W_U
    best = [tiny_gpt2.tokenizer.text(int(token)) for token in written.argsort(descending=True)]
    assert top.change == [1.0] * 10
    assert (top.raised[0], top.lowered[0]) == (best[:5], best[:-6:-1])
    turned = top_neurons(model, tiny_gpt2.tokenizer, sweeps.layers, sweeps.recovery, -change)
    assert (turned.raised, turned.lowered) == (top.lowered, top.raised)


def test_map_is_written_and_told_as_a_table(tiny_gpt2, swept, tmp_path):
    sweeps = gather(swept[0])
    top = top_neurons(
        tiny_gpt2.processed, tiny_gpt2.tokenizer, sweeps.layers, sweeps.recovery, torch.full((2, 24), -0.1)
    )
    write_map(tmp_path / "map.h5", sweeps, top, {"study": "tiny"})
    table = hdf5.read(tmp_path / "map.h5")
    assert table["recovery"].tolist() == sweeps.recovery.tolist()
    assert table["layer"].tolist() == [0, 1]
    frame = top_neurons_frame(table)
    assert frame["index"].tolist() == top.index
    assert frame["change"].tolist() == pytest.approx([-0.1] * 10)
    assert frame["raised"][0] == " ".join(map(repr, top.raised[0]))
    assert frame["lowered"][0] == " ".join(map(repr, top.lowered[0]))
    write_top_neurons(tmp_path / "top.csv", table)
    assert (tmp_path / "top.csv").read_text() == frame.to_csv(index=False)


def test_silent_neurons_are_in_no_top_list(tiny_gpt2, tmp_path):
    one = torch.ones(1)
    silent = Sweep(one, 0 * one, torch.zeros(1, 1, 24))
    write_neurons(tmp_path / "layers_0-0.h5", silent, [0], NAMES)
    sweeps = gather([tmp_path / "layers_0-0.h5"])
    top = top_neurons(tiny_gpt2.processed, tiny_gpt2.tokenizer, sweeps.layers, sweeps.recovery, torch.zeros(1, 24))
    write_map(tmp_path / "map.h5", sweeps, top, {})
    table = hdf5.read(tmp_path / "map.h5")
    assert table["top_tokens"].shape == table["lowered_tokens"].shape == (0, 5)
    assert table["top_change"].shape == (0,)
    assert len(top_neurons_frame(table)) == 0
    assert neuron_map_fig(table).layout.title.text == "Recovery From Each Patched Neuron"
    write_attribution(tmp_path / "attribution.h5", sweeps, silent.patched, {})
    attribution = hdf5.read(tmp_path / "attribution.h5")
    assert attribution.attributes["n_above_floor"] == attribution.attributes["n_top"] == 0
    assert isnan(attribution.attributes["rank_correlation"])
    assert "too few for a rank correlation" in str(attribution_fig(attribution).to_json())


def test_attribution_stands_beside_the_exact_values(tiny_gpt2, swept, tmp_path):
    sweeps = gather(swept[0])
    estimate = attribute_neurons(tiny_gpt2.raw, [PROMPT_PAIR], ANSWER, FOIL, sweeps.layers)
    write_attribution(tmp_path / "attribution.h5", sweeps, estimate, {"study": "tiny"})
    table = hdf5.read(tmp_path / "attribution.h5")
    change = sweeps.clean - sweeps.corrupted
    assert table["exact"].tolist() == sweeps.recovery.tolist()
    torch.testing.assert_close(torch.from_numpy(table["approximate"]), (estimate[0] - sweeps.corrupted) / change)
    assert table.attributes["n_above_floor"] == table.attributes["n_top"] == 48
    assert table.attributes["floor"] == rounding_floor(sweeps.clean, sweeps.corrupted)
    assert table.attributes["rank_correlation"] == pytest.approx(table.attributes["rank_correlation_top"])


def test_perfect_estimate_has_rank_correlation_one(swept, tmp_path):
    paths, sweep = swept
    write_attribution(tmp_path / "attribution.h5", gather(paths), sweep.patched, {})
    attributes = hdf5.read(tmp_path / "attribution.h5").attributes
    assert attributes["rank_correlation"] == pytest.approx(1)


def test_several_prompt_pairs_are_estimated_by_their_mean(tmp_path):
    clean, corrupted = torch.tensor([1.0, 3.0]), torch.tensor([0.0, -1.0])
    patched = torch.tensor([[[0.5, 0.0]], [[1.0, -1.0]]])
    sweep = Sweep(clean, corrupted, patched)
    write_neurons(tmp_path / "layers_0-0.h5", sweep, [0], NAMES)
    write_attribution(tmp_path / "attribution.h5", gather([tmp_path / "layers_0-0.h5"]), patched, {})
    # Means: patched 0.75 and -0.5, clean 2, corrupted -0.5.
    assert hdf5.read(tmp_path / "attribution.h5")["approximate"].tolist() == [pytest.approx([0.5, 0.0])]
