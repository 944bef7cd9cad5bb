"""Estimates of patches: what they sum to, and what they are where the model leaves nothing to estimate."""

from contextlib import ExitStack

import numpy as np
import pandas as pd
import pytest
import torch

from an_neuron.errors import UserError
from an_neuron.figures.methods import methods_fig
from an_neuron.files.hdf5 import read
from an_neuron.patching.atp_star import attribute_star, changed_patterns
from an_neuron.patching.attribution import attribute, gradients, of_items
from an_neuron.patching.engine import Engine
from an_neuron.patching.integrated import integrate_activations, integrate_inputs
from an_neuron.patching.method_files import write_methods, write_methods_csv
from an_neuron.patching.methods import agreement, estimate
from an_neuron.patching.metric import LogitDifference, NeuronActivation
from an_neuron.prompts.pairs import PromptPair

PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
SHORT = PromptPair([0, 5, 14, 2], [0, 5, 15, 2])
METRIC = LogitDifference(3, 7)
LAYERS = (0, 1)


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def ordinary(request, tiny_of):
    """Queries, keys and values of one projection, and two queries to a key."""
    return Engine(tiny_of(request.param).load()).ordinary


def measured(model, ids, changes):
    """Return the metric of a prompt with some activations replaced."""
    with ExitStack() as stack:
        for site, change in changes.items():
            stack.enter_context(model.at(*site, change))
        return float(model.run(ids, METRIC)[0])


def test_from_inputs_the_estimates_sum_to_the_whole(ordinary):
    effects = integrate_inputs(ordinary, [PAIR, SHORT], METRIC, [(0, "resid_pre")], points=300)[0, "resid_pre"]
    for pair, effect in zip((PAIR, SHORT), effects, strict=True):
        whole = measured(ordinary, pair.clean, {}) - measured(ordinary, pair.corrupted, {})
        assert float(effect.sum()) == pytest.approx(whole, abs=1e-3)
        assert not effect[: len(PAIR.clean) - len(pair.clean)].any()


@pytest.mark.parametrize("site", ["post", "z"])
def test_from_activations_the_estimates_of_a_site_sum_to_its_patch(ordinary, site):
    sites = [(layer, site) for layer in LAYERS]
    effects = integrate_activations(ordinary, [PAIR], METRIC, sites, points=300)
    clean = ordinary.activations(PAIR.clean, sites)
    for each in sites:
        patched = measured(ordinary, PAIR.corrupted, {each: lambda _, each=each: clean[each][None]})
        whole = patched - measured(ordinary, PAIR.corrupted, {})
        assert float(effects[each].sum()) == pytest.approx(whole, abs=1e-3)


def test_what_comes_after_the_metric_has_no_effect(ordinary):
    effects = attribute(ordinary, [PAIR], NeuronActivation(0, index=5), [(1, "post")])
    assert not effects[1, "post"].any()


def test_no_points_are_refused(ordinary):
    with pytest.raises(UserError, match="at least 1 point, not 0"):
        integrate_inputs(ordinary, [PAIR], METRIC, [(0, "post")], points=0)


@pytest.mark.parametrize("site", ["q", "k"])
def test_patterns_with_other_queries_or_keys_are_those_of_a_forward_each(ordinary, site):
    sites = [(layer, name) for layer in LAYERS for name in ("q", "k", "pattern")]
    base, source = (ordinary.activations(ids, sites) for ids in (PAIR.corrupted, PAIR.clean))
    changes = changed_patterns(ordinary, PAIR.corrupted, {each: source[each] for each in sites if each[1] != "pattern"})
    for layer in LAYERS:
        columns = ordinary.place(layer, site).columns.flatten()
        seen = []

        def put(activation, layer=layer, columns=columns):
            changed = activation.clone()
            changed[0][:, columns] = source[layer, site][:, columns]
            return changed

        look = {(layer, site): put, (layer, "pattern"): lambda pattern, seen=seen: seen.append(pattern[0].clone())}
        measured(ordinary, PAIR.corrupted, look)
        torch.testing.assert_close(changes[layer, site], seen[0] - base[layer, "pattern"], atol=1e-6, rtol=1e-5)
        assert float(changes[layer, site].abs().max()) > 1e-4


@pytest.mark.parametrize("site", ["q", "k"])
def test_of_a_small_step_the_fix_is_the_gradient(ordinary, site):
    """Where the softmax is nearly linear there is nothing to repair."""
    step, each = 1e-2, (1, site)
    base, slopes = gradients(ordinary, PAIR.corrupted, METRIC, [each, (1, "pattern")])
    change = ordinary.activations(PAIR.clean, [each])[each] - base[each][0]
    ways = [changed_patterns(ordinary, PAIR.corrupted, {each: base[each][0] + way * change}) for way in (step, -step)]
    patterns = (ways[0][each] - ways[1][each]) / (2 * step)
    by_query = (patterns * slopes[1, "pattern"][0]).sum((-1, -2))
    fixed = by_query.unflatten(0, (ordinary.n_items(*each), -1)).sum(-1)
    torch.testing.assert_close(fixed, of_items(ordinary, each, change * slopes[each][0]), atol=1e-5, rtol=1e-2)


def test_without_drop_only_queries_and_keys_are_other_than_attributions(ordinary):
    sites = [(layer, site) for layer in LAYERS for site in ("post", "z", "v", "q", "k")]
    plain, star = attribute(ordinary, [PAIR, SHORT], METRIC, sites), None
    star = attribute_star(ordinary, [PAIR, SHORT], METRIC, sites, drop=False)
    for site in sites:
        by_item = of_items(ordinary, site, plain[site])
        assert star[site].shape == (2, ordinary.n_items(*site))
        same = torch.allclose(star[site], by_item, atol=1e-6)
        assert same == (site[1] not in ("q", "k"))


def test_in_the_last_of_two_layers_drop_takes_the_size(ordinary):
    """Leaving out layer 0 changes nothing behind it; leaving out layer 1 leaves nothing: |effect| / (2 - 1)."""
    sites = [(1, "post"), (1, "z"), (1, "q"), (1, "k")]
    signed = attribute_star(ordinary, [PAIR], METRIC, sites, drop=False)
    sizes = attribute_star(ordinary, [PAIR], METRIC, sites)
    for site in sites:
        torch.testing.assert_close(sizes[site], signed[site].abs(), atol=1e-6, rtol=1e-4)


def test_in_the_first_of_two_layers_drop_leaves_the_direct_effect(ordinary):
    """Left out is layer 0 (nothing is left) or 1: what its outputs, held as they were, leave of a small step."""
    site, step = (0, "post"), 1e-2
    held = {(1, name): None for name in ("attn_out", "mlp_out")}
    base = ordinary.activations(PAIR.corrupted, [site, *held])
    change = ordinary.activations(PAIR.clean, [site])[site] - base[site]
    found = attribute_star(ordinary, [PAIR], METRIC, [site])[site][0]
    hold = {each: lambda _, each=each: base[each][None] for each in held}
    for neuron in range(0, 24, 7):
        only = torch.zeros_like(change)
        only[:, neuron] = change[:, neuron]
        ways = [
            measured(ordinary, PAIR.corrupted, {site: lambda _, put=base[site] + way * only: put[None], **hold})
            for way in (step, -step)
        ]
        assert float(found[neuron]) == pytest.approx(abs(ways[0] - ways[1]) / (2 * step), abs=2e-4, rel=2e-2)


def test_agreement_by_hand():
    """Of six nodes two are looked for: the estimate has one of them first and the other third; the sign is nothing."""
    exact = np.array([0.5, -0.4, 0.3, 0.02, 0.005, 1e-7])
    estimated = np.array([-0.6, 0.04, 0.35, 0.05, 0.2, 0.0])
    found = agreement(exact, estimated, 1e-6, (1, 20))
    assert (found["nodes"], found["above_floor"], found["few"], found["many"]) == (6, 5, 1, 2)
    assert (found["precision_few"], found["precision_many"]) == (1.0, 0.5)
    assert (found["sought"], found["missed"]) == (2, 1)  # among the estimate's first four, 0 2 4 3, there is no 1
    # Ranks of the five above the floor 1 2 3 4 5 and 1 5 2 4 3: 1 - 6 * (9 + 1 + 4) / (5 * 24).
    assert found["rank_correlation"] == pytest.approx(0.3)


def test_nothing_above_the_floor_agrees_with_nothing():
    found = agreement(np.full(9, 1e-8), np.ones(9), 1e-6, (1, 3))
    assert (found["above_floor"], found["many"], found["sought"], found["missed"]) == (0, 0, 0, 0)
    assert np.isnan([found["precision_few"], found["precision_many"], found["rank_correlation"]]).all()


def test_methods_are_compared_as_recoveries(ordinary, tmp_path):
    """Attribution's row is the mean over the prompt pairs by the mean range; its file holds every method and site."""
    layers = {"post": [1], **dict.fromkeys(("z", "v", "q", "k"), LAYERS)}
    pairs = [PAIR, SHORT]
    found = estimate(ordinary, pairs, METRIC, layers)
    span = np.mean([measured(ordinary, pair.clean, {}) - measured(ordinary, pair.corrupted, {}) for pair in pairs])
    by_hand = attribute(ordinary, pairs, METRIC, [(1, "post")])[1, "post"].sum(1).mean(0) / span
    np.testing.assert_allclose(found["post"][0, 0], by_hand, rtol=1e-4, atol=1e-6)
    assert np.isnan(found["z"][3]).all()
    assert (found["q"][4] >= 0).all()
    exact = {site: values[0] for site, values in found.items()}
    said = {**dict.fromkeys(("study", "model", "revision", "dtype"), "x"), "floor": 1e-6, "rounding": 1e-6}
    said |= {"answer": "d", "foil": "h", "answer_id": 3, "foil_id": 7}
    write_methods(tmp_path / "methods.h5", exact, found, [1], said)
    write_methods_csv(tmp_path / "methods.csv", read(tmp_path / "methods.h5"))
    frame = pd.read_csv(tmp_path / "methods.csv")
    assert len(frame) == 5 * 4 + 2
    assert frame[frame["method"] == "attribution"]["precision_many"].tolist() == [1.0] * 5
    assert set(frame[frame["method"] == "query-key fix"]["kind"]) == {"heads' queries", "heads' keys"}
    figure = methods_fig(read(tmp_path / "methods.h5"))
    curves = [trace for trace in figure.data if trace.name == "attribution"]
    assert len(curves) == 5
    assert all((np.asarray(curve.y) == 1).all() for curve in curves)
    assert [trace.name for trace in figure.data if trace.showlegend] == [
        "attribution",
        "integrated gradients, inputs",
        "integrated gradients, activations",
        "AtP*",
        "query-key fix",
    ]
