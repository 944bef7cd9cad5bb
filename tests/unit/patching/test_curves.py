"""What the best nodes do together: areas by hand, and what must hold at the ends of every curve."""

import numpy as np
import pandas as pd
import pytest
import torch

from an_neuron.files.hdf5 import read
from an_neuron.patching import curves
from an_neuron.patching.curve_files import write_areas, write_curves, write_curves_csv
from an_neuron.patching.curves import (
    KINDS,
    Curve,
    Ranking,
    effects_of_heads,
    effects_of_neurons,
    estimated_heads,
    greedy,
    measure_curves,
    rankings_of,
    smallest_set,
)
from an_neuron.patching.dose_response import respond, write_dose_response
from an_neuron.patching.drivers import drive_by_neurons
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference, NeuronActivation
from an_neuron.patching.rows import Node
from an_neuron.patching.sweeps import patch_heads, patch_neurons
from an_neuron.patching.together import OpenPromptPairs, patch_together
from an_neuron.prompts.pairs import PromptPair

PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
OTHER = PromptPair([0, 3, 14, 6, 8, 9], [0, 3, 11, 6, 8, 9])
METRIC = LogitDifference(7, 10)
SAID = {"answer": "h", "foil": "k", "answer_id": 7, "foil_id": 10, "spot_checks": 3, "rounding": 1e-6}
SAID |= dict.fromkeys(("study", "model", "revision", "dtype"), "x")


@pytest.fixture(scope="module")
def engine(tiny_of):
    return Engine(tiny_of("llama").load())


@pytest.fixture(scope="module")
def rankings(engine):
    exact = effects_of_neurons(patch_neurons(engine, [PAIR], METRIC).recovery.numpy(), range(2))
    exact |= effects_of_heads(patch_heads(engine, [PAIR], METRIC, ["z"])["z"].recovery.numpy())
    estimates = {node: effect / 2 for node, effect in exact.items() if node.site == "post"}
    estimates |= effects_of_heads(estimated_heads(engine, [PAIR], METRIC))
    return [ranking for kind in KINDS for ranking in rankings_of(kind, exact, estimates)]


def opened(engine, ranking):
    return OpenPromptPairs(engine, [PAIR], METRIC, ranking.sites)


def test_rankings_go_by_effect_with_or_without_its_sign():
    effects = {Node(0, "post", index): value for index, value in enumerate([0.1, -0.5, 0.3])}
    signed, absolute, *_ = rankings_of("neurons", effects, effects)
    assert [node.item for node in signed.nodes] == [2, 0, 1]
    assert [node.item for node in absolute.nodes] == [1, 2, 0]
    assert (signed.by, absolute.by, signed.of) == ("exact", "exact, absolute", 3)
    assert signed.sizes() == [0, 1, 2, 3]


def test_areas_by_hand():
    """Faithfulness 0, 0.5, 1.5, 1 at shares 0, 1/4, 1/2, 1: trapezoids, and their distance from 1."""
    ranking = Ranking("neurons", "exact", [Node(0, "post", index) for index in range(4)], 4, frozenset())
    ranking.__dict__["sizes"] = lambda: [0, 1, 2, 4]
    nothing, faithfulness = torch.zeros(4, 2), torch.tensor([[0, 9], [0.5, 9], [1.5, 9], [1.0, 9]])
    cpr, cmd = Curve(ranking, nothing, nothing, faithfulness).areas(np.array([True, False]))
    assert cpr == pytest.approx(0.25 * 0.25 + 0.25 * 1.0 + 0.5 * 1.25)
    assert cmd == pytest.approx(0.25 * 0.75 + 0.25 * 0.5 + 0.5 * 0.25)


def test_all_nodes_are_the_whole_and_none_are_nothing(engine, rankings):
    """At the last position nothing changes but what heads and neurons write there."""
    measured, checks = measure_curves(engine, [PAIR, OTHER], METRIC, rankings)
    assert len(checks) >= 10
    for curve in measured:
        assert curve.recovery.shape == (len(curve.ranking.sizes()), 2)
        torch.testing.assert_close(curve.recovery[0], torch.zeros(2), atol=1e-4, rtol=0)
        torch.testing.assert_close(curve.left[0], torch.ones(2), atol=1e-4, rtol=0)
        torch.testing.assert_close(curve.faithfulness[-1], torch.ones(2), atol=1e-4, rtol=0)
        if curve.ranking.kind == "neurons and heads":
            torch.testing.assert_close(curve.recovery[-1], torch.ones(2), atol=1e-4, rtol=0)
            torch.testing.assert_close(curve.left[-1], torch.zeros(2), atol=1e-4, rtol=0)
            torch.testing.assert_close(curve.faithfulness[0], torch.zeros(2), atol=1e-4, rtol=0)


def test_the_first_of_a_ranking_alone_is_its_exact_effect(engine, rankings):
    (curve,), _ = measure_curves(engine, [PAIR], METRIC, rankings[:1])
    exact = patch_neurons(engine, [PAIR], METRIC).recovery
    assert float(curve.recovery[1, 0]) == pytest.approx(float(exact.max()), abs=1e-5)


def test_each_greedy_choice_is_the_best_beside_those_before(engine, rankings):
    chosen = greedy(opened(engine, rankings[0]), rankings[0]).nodes
    candidates = rankings[0].nodes[:32]
    assert chosen[0] == rankings[0].nodes[0]
    pairs = [[chosen[0], node] for node in candidates if node != chosen[0]]
    best = int(patch_together(engine, [PAIR], METRIC, pairs).recovery.argmax())
    assert chosen[1] == pairs[best][1]
    assert len({*chosen}) == len(chosen)


def test_greedy_in_open_prompt_pairs_is_greedy_afresh(engine, rankings):
    prompts, chosen = OpenPromptPairs(engine, [PAIR, OTHER], METRIC, rankings[8].sites), []
    for _ in range(8):
        rest = [node for node in rankings[8].nodes[:32] if node not in chosen]
        swept = patch_together(engine, [PAIR, OTHER], METRIC, [[*chosen, node] for node in rest])
        chosen.append(rest[int(swept.recovery.argmax())])
    assert greedy(prompts, rankings[8]).nodes == chosen


def test_the_smallest_set_is_looked_for_some_at_a_time(engine, rankings, monkeypatch):
    at_once = smallest_set(opened(engine, rankings[8]), rankings[8])
    monkeypatch.setattr(curves, "AT_A_TIME", 2)
    assert smallest_set(opened(engine, rankings[8]), rankings[8]) == pytest.approx(at_once, abs=1e-5)
    monkeypatch.setattr(curves, "ENOUGH", 1e6)
    assert smallest_set(opened(engine, rankings[8]), rankings[8]) is None


def test_the_smallest_set_recovers_enough_and_one_less_does_not(engine, rankings):
    both = rankings[8]
    size, recovery, left = smallest_set(opened(engine, both), both)
    sets = [both.nodes[: size - 1], both.nodes[:size]]
    found = patch_together(engine, [PAIR], METRIC, sets).recovery
    assert float(found[0]) < 0.9 <= float(found[1])
    assert recovery == pytest.approx(float(found[1]), abs=1e-5)
    without = patch_together(engine, [PAIR], METRIC, [sets[1]], noising=True)
    assert left == pytest.approx(float(without.recovery), abs=1e-5)


def test_files_hold_the_curves(engine, rankings, tmp_path):
    measured, _ = measure_curves(engine, [PAIR, OTHER], METRIC, rankings[:2])
    write_curves(tmp_path / "curves.h5", measured, ["main", "held_out"], SAID)
    table = read(tmp_path / "curves.h5")
    write_curves_csv(tmp_path / "curves.csv", table)
    write_areas(tmp_path / "areas.csv", measured, ["main", "held_out"], {("neurons", "exact"): (3, 0.95, 0.1)})
    means, areas = pd.read_csv(tmp_path / "curves.csv"), pd.read_csv(tmp_path / "areas.csv")
    assert list(means["k"][: len(rankings[0].sizes())]) == rankings[0].sizes()
    assert means["recovery_held_out"][1] == pytest.approx(float(measured[0].recovery[1, 1]), abs=1e-5)
    assert list(areas["smallest"]) == [3, -1]
    assert areas["cpr_main"][0] == pytest.approx(measured[0].areas(np.array([True, False]))[0], abs=1e-5)
    assert table["first"][1].tolist()[:2] == [rankings[0].nodes[0].name, ""]


def test_attribution_of_heads_is_that_of_their_columns(engine):
    """Heads write linearly into the last stream, so that near 0 the estimate is the exact effect's slope."""
    estimates = estimated_heads(engine, [PAIR], METRIC)
    exact = patch_heads(engine, [PAIR], METRIC, ["z"])["z"].recovery.numpy()
    assert estimates.shape == exact.shape == (2, 4)
    assert np.corrcoef(estimates[1], exact[1])[0, 1] > 0.9


def test_dose_and_response_meet_the_prompts_as_they_are(engine):
    neuron = Node(1, "post", 5)
    own = [
        float(engine.ordinary.activations(ids, [(1, "post")])[1, "post"][-1, 5]) for ids in (PAIR.clean, PAIR.corrupted)
    ]
    found = respond(engine, [PAIR], METRIC, neuron, own)
    assert found.activations[0].tolist() == pytest.approx(own, abs=1e-5)
    assert float(found.in_clean[0, 0]) == pytest.approx(float(found.metrics[0, 0]), abs=1e-5)
    assert float(found.in_corrupted[0, 1]) == pytest.approx(float(found.metrics[0, 1]), abs=1e-5)
    patched = patch_together(engine, [PAIR], METRIC, [[Node(1, "post", 5, position=-1)]])
    assert float(found.in_corrupted[0, 0]) == pytest.approx(float(patched.patched), abs=1e-5)


def test_doses_cover_0_and_both_prompts(engine, tmp_path):
    found = respond(engine, [PAIR, OTHER], METRIC, Node(0, "post", 2))
    least, most = float(found.activations.min()), float(found.activations.max())
    assert float(found.values.min()) < min(0, least)
    assert float(found.values.max()) > max(0, most)
    write_dose_response(tmp_path / "dose.h5", found, {**SAID, "neuron_layer": 0, "neuron_index": 2})
    assert read(tmp_path / "dose.h5")["in_clean"].shape == (2, 41)


def test_neurons_below_are_measured_exactly(engine):
    metric = NeuronActivation(1, index=5)
    exact = patch_neurons(engine, [PAIR], metric, [0]).recovery[0]
    every, some = drive_by_neurons(engine, [PAIR], metric), drive_by_neurons(engine, [PAIR], metric, measured=4)
    assert every.below == 24
    assert every.left_out == 0
    for (layer, index), recovery in zip(every.neurons, every.recovery.tolist(), strict=True):
        assert layer == 0
        assert recovery == pytest.approx(float(exact[index]), abs=1e-5)
    assert every.recovery.tolist() == sorted(every.recovery.tolist(), reverse=True)
    estimates = dict(zip(every.neurons, every.estimate.abs().tolist(), strict=True))
    assert {*some.neurons} == {*sorted(estimates, key=lambda neuron: -estimates[neuron])[:4]}
    assert some.left_out == pytest.approx(sorted(estimates.values())[-5])


def test_nothing_drives_a_neuron_of_the_first_layer_but_what_is_there(engine):
    none = drive_by_neurons(engine, [PAIR], NeuronActivation(0, index=5))
    assert (none.neurons, none.below) == ([], 0)
