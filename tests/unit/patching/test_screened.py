"""What a screen chose in files: several jobs' sweeps are together the screen of all; the rest has no value."""

import numpy as np
import pytest
import torch

from an_neuron.figures.neurons import attribution_fig, neuron_map_fig
from an_neuron.figures.patching import patched_neuron_fig
from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.attribution import attribute_neurons
from an_neuron.patching.comparison import write_attribution
from an_neuron.patching.curves import effects_of_neurons, rankings_of
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.neuron_map import top_neurons_frame, write_map
from an_neuron.patching.neuron_sweeps import gather
from an_neuron.patching.screened import (
    SCREENING,
    Screened,
    bound,
    bound_sentence,
    measured,
    read_screened,
    screening,
    screening_sentence,
    write_screened,
)
from an_neuron.patching.screening import choose_neurons, patch_screened, screen_neurons
from an_neuron.patching.sweep_files import NEURONS, write_neurons
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.patching.top_neurons import top_neurons
from an_neuron.prompts.pairs import PromptPair

PAIRS = [PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])]
METRIC = LogitDifference(3, 7)
NAMES = {"answer": "c", "foil": "g", "answer_id": 3, "foil_id": 7}


@pytest.fixture(scope="module")
def engine(tiny_gpt2):
    return Engine(tiny_gpt2.load())


@pytest.fixture(scope="module")
def exact(engine):
    return patch_neurons(engine, PAIRS, METRIC).recovery


@pytest.fixture(scope="module")
def chosen(engine):
    return choose_neurons(engine, PAIRS, METRIC, screen=12, sample=10, seed=3)


@pytest.fixture
def paths(engine, chosen, tmp_path):
    """Write the sweeps of the chosen neurons, a job a layer, the last layer first."""
    written = [tmp_path / f"layers_{layer}-{layer}.h5" for layer in (1, 0)]
    for path, layer in zip(written, (1, 0), strict=True):
        sweep = patch_screened(engine, PAIRS, METRIC, [layer], chosen)
        write_neurons(path, sweep, [layer], NAMES, chosen.within([layer]))
    return written


def test_the_choice_is_that_of_the_library_and_survives_its_file(engine, chosen, tmp_path):
    assert chosen.neurons() == screen_neurons(engine, PAIRS, METRIC, screen=12, sample=10, seed=3, least=1).neurons
    assert (chosen.drawn.tolist(), chosen.of) == ([False] * 12 + [True] * 10, 48)
    write_screened(tmp_path / "screened.h5", chosen, {})
    again = read_screened(hdf5.read(tmp_path / "screened.h5"))
    assert (again.neurons(), again.drawn.tolist(), again.of) == (chosen.neurons(), chosen.drawn.tolist(), 48)


def test_the_studied_neuron_is_the_first_of_those_that_are_patched(engine, chosen):
    last = next((1, index) for index in range(24) if (1, index) not in chosen.neurons())
    with_it = choose_neurons(engine, PAIRS, METRIC, screen=12, sample=10, seed=3, studied=last)
    assert with_it.neurons()[:12] == [last, *chosen.neurons()[:11]]
    elsewhere = choose_neurons(engine, PAIRS, METRIC, [0], screen=12, sample=10, studied=last)
    assert set(elsewhere.layer.tolist()) == {0}


def test_what_was_not_chosen_has_no_value(engine, chosen, exact):
    sweep = patch_screened(engine, PAIRS, METRIC, [0, 1], chosen)
    there = np.zeros((2, 24), bool)
    there[chosen.layer, chosen.index] = True
    assert (sweep.recovery.isnan().numpy() == ~there).all()
    torch.testing.assert_close(sweep.recovery[there], exact[there], atol=1e-5, rtol=0)


def test_layers_of_which_none_was_chosen_have_the_prompts_values(engine, chosen, exact, tmp_path):
    nothing = patch_screened(engine, PAIRS, METRIC, [1], chosen.within([0]))
    whole = patch_screened(engine, PAIRS, METRIC, [0], chosen)
    assert nothing.recovery.isnan().all()
    for end in ("clean", "corrupted"):
        torch.testing.assert_close(getattr(nothing, end), getattr(whole, end))
    write_neurons(tmp_path / "layers_1-1.h5", nothing, [1], NAMES, chosen.within([0]).within([1]))
    assert not measured(hdf5.read(tmp_path / "layers_1-1.h5", NEURONS)).any()


def test_several_jobs_together_tell_of_the_whole_screen(engine, paths, chosen):
    sweeps = gather(paths)
    found = screen_neurons(engine, PAIRS, METRIC, screen=12, sample=10, seed=3)
    said = {name: sweeps.attributes[name] for name in SCREENING}
    assert said.pop("least") == pytest.approx(found.least, abs=1e-5)
    counts = {"screened": 12, "drawn": 10, "unmeasured": 26}
    assert said == {**counts, "exceeding": found.exceeding, "at_most": found.at_most}
    assert {*sweeps.screened.neurons()} == {*chosen.neurons()}
    assert sweeps.in_float32.sum() == 22


def test_map_and_lists_hold_what_was_patched_and_say_what_was_drawn(tiny_gpt2, paths, chosen, tmp_path):
    sweeps = gather(paths)
    top = top_neurons(
        tiny_gpt2.processed, tiny_gpt2.tokenizer, sweeps.layers, sweeps.recovery, torch.ones(2, 24), number=22
    )
    assert {*zip(top.layer, top.index, strict=True)} == {*chosen.neurons()}
    write_map(tmp_path / "map.h5", sweeps, top, {})
    table = hdf5.read(tmp_path / "map.h5")
    drawn = dict(zip(chosen.neurons(), chosen.drawn.tolist(), strict=True))
    frame = top_neurons_frame(table)
    assert [drawn[neuron] for neuron in zip(frame["layer"], frame["index"], strict=True)] == frame["drawn"].tolist()
    figure = neuron_map_fig(table)
    assert sum(len(trace.x) for trace in figure.data) == 22
    shown = {tuple(place) for trace in figure.data for place in trace.customdata.tolist()}
    assert shown == {*chosen.neurons()}
    said = figure.layout.title.subtitle.text
    assert "22 of 48 patched: 12 that attribution puts first, 10 drawn at random" in said
    assert f"Of the others at most {sweeps.attributes['at_most']} lie beyond the dotted lines" in said
    levels = sorted(shape.y0 for shape in figure.layout.shapes)
    assert levels == pytest.approx([-sweeps.attributes["least"], sweeps.attributes["least"]])


def test_a_layers_figure_draws_what_was_patched(paths):
    table = hdf5.read(paths[0])
    figure = patched_neuron_fig(table, 1)
    assert figure.data[0].x.tolist() == np.flatnonzero(measured(table)[0]).tolist()
    assert f"{measured(table).sum()} of the layer's 24 neurons were patched" in figure.layout.title.subtitle.text


def test_attribution_is_held_against_what_was_patched(tiny_gpt2, paths, tmp_path):
    sweeps = gather(paths)
    estimate = attribute_neurons(tiny_gpt2.raw, PAIRS, 3, 7, sweeps.layers)
    write_attribution(tmp_path / "attribution.h5", sweeps, estimate, {})
    table = hdf5.read(tmp_path / "attribution.h5")
    assert np.isfinite(table["approximate"]).all()
    assert table.attributes["n_above_floor"] == 22
    assert abs(table.attributes["rank_correlation"]) <= 1
    figure = attribution_fig(table)
    assert sum(len(trace.x) for trace in figure.data) == 22
    assert "22 of 48 neurons were patched" in figure.layout.title.subtitle.text


def test_an_exact_ranking_ends_with_what_was_patched():
    exact = effects_of_neurons(np.array([[0.5, np.nan, -0.75]]), [4])
    estimates = effects_of_neurons(np.array([[0.25, 0.125, -0.5]]), [4])
    signed, absolute, estimated, _ = rankings_of("neurons", exact, estimates)
    assert [node.item for node in signed.nodes] == [0, 2]
    assert [node.item for node in absolute.nodes] == [2, 0]
    assert (signed.of, signed.sites) == (estimated.of, estimated.sites) == (3, {(4, "post")})
    assert [node.item for node in estimated.nodes] == [0, 1, 2]


def test_the_threshold_is_a_rank_of_those_not_drawn_and_no_rounding():
    recovery, drawn = np.array([0.5, -0.25, 0.125, 0.3, -0.2, np.nan]), np.array([False] * 3 + [True] * 3)
    found = bound(recovery, drawn, 6, 1e-6, rank=2)
    assert (found.least, found.exceeding, found.at_most) == (0.25, 2, 0)  # what overflowed is an effect; all are known
    assert bound(recovery, drawn, 6, 0.4, rank=2).least == 0.4
    assert bound(recovery, drawn, 6, 0.0, rank=10).least == 0.125
    assert bound(recovery, drawn, 6, 0.4, least=0.1).exceeding == 3


@pytest.mark.parametrize("quiet", [0.5, 0.95, 0.998])
def test_the_bound_holds_in_95_of_100_draws(quiet):
    """A thousand screens of a table of 3,000 effects, whose ranking is no better than chance."""
    generator = np.random.default_rng(7)
    recovery = np.where(generator.random(3000) < quiet, 0, generator.normal(size=3000))
    first, others = recovery[:100], recovery[100:]
    held = 0
    for _ in range(1000):
        order = generator.permutation(len(others))
        drawn, left = others[order[:150]], others[order[150:]]
        found = bound(np.concatenate([first, drawn]), np.arange(250) >= 100, 3000, 1e-6)
        held += int((np.abs(left) > found.least).sum()) <= found.at_most
    assert held >= 950


def test_sentences_tell_what_was_patched_and_what_may_have_been_missed():
    chosen = Screened(np.zeros(15, int), np.arange(15), np.arange(15) >= 12, of=1000)
    recovery = np.array([0.5] + [0.25] * 11 + [0.125, 0.5, 0.0])
    attributes = screening(chosen, recovery, 1e-6)
    assert screening_sentence(attributes) == (
        "15 of 1,000 neurons were patched: the 12 that attribution puts first, or the study names, and 3 of the "
        "others, drawn at random."
    )
    assert bound_sentence(attributes) == (
        "Of the neurons drawn at random 1 exceeds an absolute recovery of 0.25 (number 10 among those that attribution "
        f"puts first, or rounding where that is more): with 95 % confidence at most "
        f"{attributes['at_most']} of the 985 that were not patched do."
    )
    assert "Of the neurons drawn at random none exceeds" in bound_sentence({**attributes, "exceeding": 0})
    assert "Of the neurons drawn at random 2 exceed an" in bound_sentence({**attributes, "exceeding": 2})
    every = screening(Screened(np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool), 0), np.zeros(0), 1e-6)
    assert screening_sentence(every) == bound_sentence(every) == screening_sentence({}) == ""


def test_bytes_are_those_of_the_shapes(paths):
    """Of what `check_room` asks before a sweep: all numbers of the file, as HDF5 stores them."""
    table = hdf5.read(paths[0], NEURONS)
    lengths = {"layer": 1, "d_mlp": 24, "prompt_pair": 1}
    names = [name for name, one in NEURONS.fields.items() if one.kind != "text" and {*one.axes} <= {*lengths}]
    assert NEURONS.n_bytes(**lengths) == sum(table[name].nbytes for name in names)
    small = Schema(
        "a.h5",
        "",
        {"a": Field("x y", "int64", "", ""), "b": Field("x", "bool", "", ""), "c": Field("z", "float32", "", "")},
    )
    assert small.n_bytes(x=3, y=2) == 3 * 2 * 8 + 3
