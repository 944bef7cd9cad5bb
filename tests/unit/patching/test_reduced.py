"""Sweeps whose products of changes run below float32: what they are off by, and what is measured again."""

import numpy as np
import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from an_neuron.errors import UserError
from an_neuron.files import hdf5
from an_neuron.patching import changed_products, remeasuring
from an_neuron.patching.again import Again, errors
from an_neuron.patching.changed_products import ChangedProducts, bfloat16_pays, chosen_precision
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.neuron_sweeps import gather
from an_neuron.patching.remeasuring import neurons_to_measure, with_exact
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweep_files import write_neurons
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.prompts.pairs import PromptPair

PAIRS = [
    PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9]),
    PromptPair([0, 3, 4, 5, 6, 8], [0, 3, 13, 12, 6, 8]),
]
METRIC = LogitDifference(3, 7)
NAMES = {"answer": "c", "foil": "g", "answer_id": 3, "foil_id": 7}


@pytest.fixture
def few(monkeypatch):
    """Measure again the three largest neurons, and four of the others."""
    monkeypatch.setattr(remeasuring, "LARGEST", 3)
    monkeypatch.setattr(remeasuring, "DRAWN", 4)


def sweep_of(recovery: torch.Tensor) -> Sweep:
    """Return a sweep of one prompt pair with this recovery, [layer, neuron]."""
    layers, neurons = recovery.shape
    axes = (("layer", range(5, 5 + layers)), ("neuron", range(neurons)))
    return Sweep(torch.ones(1), torch.zeros(1), recovery[None], axes=axes, precision="bfloat16")


@pytest.mark.usefixtures("few")
def test_products_of_changes_are_those_of_the_whole(tiny):
    """On a CPU `high` multiplies in float32, so that only the way of multiplying differs."""
    engine = Engine(tiny.raw, way="fast")
    whole, changed = (patch_neurons(engine, PAIRS, METRIC, precision=name) for name in ("highest", "high"))
    torch.testing.assert_close(changed.patched, whole.patched, atol=2e-6, rtol=1e-5)
    assert (whole.precision, whole.again, changed.precision, len(changed.again.layer)) == ("highest", None, "high", 7)


@pytest.mark.usefixtures("few")
def test_bfloat16_is_off_by_a_share_of_each_effect_and_the_largest_are_exact(tiny):
    engine = Engine(tiny.raw, way="fast")
    exact, reduced = (patch_neurons(engine, PAIRS, METRIC, precision=name) for name in ("highest", "bfloat16"))
    again = reduced.again
    off = (reduced.recovery - exact.recovery).abs()
    assert 0 < float(off.max()) < 0.02 * float(exact.recovery.abs().max())
    torch.testing.assert_close(reduced.patched[:, again.layer, again.index], exact.patched[:, again.layer, again.index])
    largest = set(exact.recovery.abs().flatten().topk(3).indices.tolist())
    assert {int(place) for place in (again.layer * 24 + again.index)[~again.drawn]} == largest
    assert f"in bfloat16, {len(again.layer)} of them again in float32" in repr(reduced)
    assert len(reduced.checks) > len(exact.checks)  # both ways are held against ordinary forwards


def test_the_largest_and_some_by_chance_are_measured_again(few):
    recovery = torch.tensor([[0.0, -0.9, 0.1, 0.2, 0.0], [0.5, 0.3, 0.0, -0.4, 0.05]])
    chosen, drawn = neurons_to_measure(sweep_of(recovery))
    assert chosen[:3] == [(5, 1), (6, 0), (6, 3)]
    assert drawn.tolist() == [False] * 3 + [True] * 4
    assert len({*chosen}) == 7
    assert neurons_to_measure(sweep_of(recovery)) == (chosen, pytest.approx(drawn))  # the same each time
    everything, _ = neurons_to_measure(sweep_of(recovery[:, :2]))
    assert sorted(everything) == [(5, 0), (5, 1), (6, 0), (6, 1)]


def test_measured_values_take_the_place_of_reduced_ones():
    reduced = sweep_of(torch.tensor([[0.1, 0.2], [0.3, 0.4]]))
    exact = Sweep(torch.ones(1), torch.zeros(1), torch.tensor([[0.41, 0.19]]))
    merged = with_exact(reduced, exact, [(6, 1), (5, 1)], np.array([False, True]))
    assert merged.recovery.flatten().tolist() == pytest.approx([0.1, 0.19, 0.3, 0.41])
    again = merged.again
    assert (again.layer.tolist(), again.index.tolist(), again.drawn.tolist()) == ([6, 5], [1, 1], [False, True])
    assert again.reduced.tolist() == pytest.approx([0.4, 0.2])
    assert again.recovery.tolist() == pytest.approx([0.41, 0.19])


def test_errors_are_shares_of_what_is_large_and_absolute_of_the_rest():
    exact = np.array([0.5, 0.1, -0.2, 0.0005, 0.0])
    reduced = np.array([0.51, 0.1, -0.21, 0.0002, 0.0001])
    again = Again(np.zeros(5, int), np.arange(5), np.zeros(5, bool), reduced, exact)
    found = errors(again, "bfloat16")
    assert (found["precision"], found["measured_again"]) == ("bfloat16", 5)
    assert found["error_median"] == pytest.approx(0.02)  # of 0.02, 0 and 0.05
    assert found["error_99"] == pytest.approx(0.05 - 0.02 * 0.03)
    assert found["error_below"] == pytest.approx(0.0003)
    nothing = errors(Again(*np.zeros((5, 0))), "highest")
    assert nothing["measured_again"] == 0
    assert np.isnan([nothing[name] for name in ("error_median", "error_99", "error_below")]).all()


@pytest.mark.usefixtures("few")
def test_files_say_which_values_are_float32(tiny_gpt2, tmp_path):
    paths = [tmp_path / f"layers_{layer}-{layer}.h5" for layer in (0, 1)]
    for layer, precision in enumerate(("bfloat16", "highest")):
        sweep = patch_neurons(tiny_gpt2.raw, PAIRS, METRIC, [layer], precision=precision)
        write_neurons(paths[layer], sweep, [layer], NAMES)
    table = hdf5.read(paths[0])
    assert table.attributes["precision"] == "bfloat16"
    assert table["again_recovery"].tolist() == table["recovery"][0, table["again_index"]].tolist()
    sweeps = gather(paths)
    assert sweeps.in_float32[1].all()
    assert sweeps.in_float32[0].nonzero().flatten().tolist() == sorted(table["again_index"].tolist())
    assert (sweeps.attributes["precision"], sweeps.attributes["measured_again"]) == ("bfloat16", 7)


def test_what_cannot_be_is_refused(tiny_gpt2):
    with pytest.raises(UserError, match="The precision of a sweep is one of highest, high, bfloat16; not 'half'"):
        patch_neurons(tiny_gpt2.raw, PAIRS, METRIC, precision="half")
    with pytest.raises(UserError, match="at one position at a time are patched in float32"):
        patch_neurons(tiny_gpt2.raw, PAIRS, METRIC, per_position=True, precision="bfloat16")
    half = tiny_gpt2.load().to(torch.bfloat16)
    with pytest.raises(UserError, match=r"Only a model in float32 .* is in torch.bfloat16: take highest"):
        patch_neurons(half, PAIRS, METRIC, precision="bfloat16")


def test_the_ordinary_way_is_float32_whatever_is_asked(tiny_gpt2):
    sweep = patch_neurons(Engine(tiny_gpt2.raw, way="ordinary"), PAIRS[:1], METRIC, [1], precision="bfloat16")
    assert (sweep.way, sweep.precision, sweep.again) == ("ordinary", "highest", None)


class Block(nn.Module):
    """Two products in a row; the second sees rows and positions as one axis where it is told so."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        self.wide, self.narrow, self.flat = nn.Linear(4, 6), Conv1D(3, 6), flat

    def forward(self, stream: torch.Tensor) -> torch.Tensor:
        middle = self.wide(stream)
        return self.narrow(middle.flatten(0, 1)).unflatten(0, stream.shape[:2]) if self.flat else self.narrow(middle)


@torch.inference_mode()
def test_a_product_that_is_laid_out_otherwise_runs_in_float32(monkeypatch):
    multiplied = []
    honest = changed_products.product
    monkeypatch.setattr(changed_products, "product", lambda *args: multiplied.append(args) or honest(*args))
    base = torch.randn(1, 5, 4)
    rows = base + 0.1 * torch.randn(7, 5, 4)
    for flat, number in ((False, 2), (True, 1)):
        block, products = Block(flat), ChangedProducts("high", {})
        multiplied.clear()
        with products.recording(block):
            block(base)
        with products.of_changes(block):
            found, last = block(rows), block(rows[:, -1:])
        assert len(multiplied) == 2 * number
        torch.testing.assert_close(found, block(rows))
        torch.testing.assert_close(last, block(rows)[:, -1:])
    assert len(multiplied) == 2  # outside the context modules multiply as ever


def test_a_study_takes_bfloat16_where_it_pays(tiny_gpt2, monkeypatch):
    cpu = torch.device("cpu")
    for times, pays in (([3.1, 1.0], True), ([2.9, 1.0], False)):
        spent = iter(times)  # of float32, and of bfloat16
        monkeypatch.setattr(changed_products, "seconds", lambda _run, _device, spent=spent: next(spent))
        bfloat16_pays.cache_clear()
        assert bfloat16_pays(cpu, 256, 512) is pays
    assert not bfloat16_pays(cpu, 255, 512)  # too narrow to be measured
    bfloat16_pays.cache_clear()
    assert chosen_precision("high", tiny_gpt2.raw) == "high"
    assert chosen_precision("auto", tiny_gpt2.raw) == "highest"
    monkeypatch.setattr(changed_products, "bfloat16_pays", lambda *_: True)
    assert chosen_precision("auto", tiny_gpt2.raw) == "bfloat16"
