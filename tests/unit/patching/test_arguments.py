"""What a notebook may get wrong: every wrong argument ends in a sentence, before anything is patched."""

import pytest
import torch

from an_neuron.errors import UserError
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweeps import patch_heads, patch_listed_neurons, patch_neurons, patch_sites
from an_neuron.prompts.pairs import PromptPair

PAIR = PromptPair([0, 3, 4, 5, 6], [0, 3, 12, 5, 6])
METRIC = LogitDifference(3, 4)


@pytest.fixture
def engine(tiny_gpt2):
    return Engine(tiny_gpt2.raw)


WRONG_PAIRS = {
    "no prompt pair to patch": [],
    r"a list; for a single one give \[prompt_pair\]": PAIR,
    "a PromptPair.* of token ids, not 5": [5],
    r"99 is no token id; the model's vocabulary has ids 0 to 49": [PromptPair([0, 99], [0, 1])],
    "-1 is no token id": [PromptPair([0, 2], [0, -1])],
    "'a' is no token id": [PromptPair([0, "a"], [0, 1])],
    "A prompt has no tokens": [PromptPair([], [])],
    "A prompt has 33 tokens; the model's context holds 32": [PromptPair([0] * 33, [0] * 32 + [1])],
    "equally many tokens, not 3 and 2": [PromptPair([0, 1], [0, 1, 2])],
    "the same prompt": [PromptPair([0, 1], [0, 1])],
}


@pytest.mark.parametrize("said", WRONG_PAIRS)
def test_wrong_prompt_pairs(engine, said):
    for patch in (patch_sites, patch_heads, patch_neurons):
        with pytest.raises(UserError, match=said):
            patch(engine, WRONG_PAIRS[said], METRIC)


WRONG_LAYERS = {
    "no layer to patch": [],
    r"a list; for a single one give \[1\]": 1,
    "no layer 2; this model has layers 0 to 1": [0, 2],
    "no layer -1": [-1],
    "no layer '1'": ["1"],
    "given twice": [1, 1],
}


@pytest.mark.parametrize("said", WRONG_LAYERS)
def test_wrong_layers(engine, said):
    with pytest.raises(UserError, match=said):
        patch_neurons(engine, [PAIR], METRIC, WRONG_LAYERS[said])


def test_layers_may_be_a_generator_and_numbers_numpys(engine):
    import numpy as np

    expected = patch_neurons(engine, [PAIR], METRIC, [1]).patched
    assert torch.equal(patch_neurons(engine, [PAIR], METRIC, (layer for layer in [1])).patched, expected)
    assert torch.equal(patch_neurons(engine, [PAIR], METRIC, np.array([1])).patched, expected)


WRONG_SITES = {
    r"a list; for a single one give \['mlp_out'\]": "mlp_out",
    "no site to patch": [],
    "no site 'resid_post' to patch in every layer; it has resid_pre": ["resid_post"],
}


@pytest.mark.parametrize("said", WRONG_SITES)
def test_wrong_sites(engine, said):
    with pytest.raises(UserError, match=said):
        patch_sites(engine, [PAIR], METRIC, WRONG_SITES[said])


def test_wrong_head_sites(engine):
    with pytest.raises(UserError, match="no site 'post' to patch in every layer; it has q, k, v, pattern, z"):
        patch_heads(engine, [PAIR], METRIC, ["post"])


@pytest.mark.parametrize(
    ("neurons", "said"),
    [
        ([], "no neuron to patch"),
        ([(0, 24)], r"no neuron 0\.24; this model has 2 layers of 24 each"),
        ([(0, 1), (0, 1)], r"Neuron 0\.1 is given twice"),
        ([5], r"a pair \(layer, index\), not 5"),
    ],
)
def test_wrong_neurons(engine, neurons, said):
    with pytest.raises(UserError, match=said):
        patch_listed_neurons(engine, [PAIR], METRIC, neurons)


@pytest.mark.parametrize("tokens_per_wave", [0, -3])
def test_waves_without_tokens(engine, tokens_per_wave):
    with pytest.raises(UserError, match=f"tokens_per_wave must be at least 1, not {tokens_per_wave}"):
        patch_sites(engine, [PAIR], METRIC, tokens_per_wave=tokens_per_wave)


@pytest.mark.parametrize(("answer", "foil"), [(3, -1), (50, 3), ("a", 3)])
def test_tokens_of_the_metric_that_are_not_there(engine, answer, foil):
    """A negative id would silently be one of the last tokens."""
    wrong = foil if foil == -1 else answer
    with pytest.raises(UserError, match=f"{wrong!r} is no token id; the model's vocabulary has ids 0 to 49"):
        patch_sites(engine, [PAIR], LogitDifference(answer, foil))


@pytest.mark.parametrize(
    "metric",
    [lambda residual, logits: torch.tensor(1.0), lambda residual, logits: 1.0, lambda residual, logits: residual],
)
def test_metrics_that_are_not_a_number_for_each_row(engine, metric):
    with pytest.raises(UserError, match=r"The metric must return a number for each row, a tensor \[2\]"):
        patch_sites(engine, [PAIR], metric)


def test_a_metric_that_hardly_changes_is_refused_with_both_values(engine):
    """Relative to the size of what is measured: 1000 and 1000.00001 differ by rounding."""
    with pytest.raises(UserError, match=r"nothing to recover: .* 1000(\.\d+)? and 1000(\.\d+)? .* rounding"):
        patch_sites(engine, [PAIR], lambda residual, logits: 1000 + 1e-6 * residual[:, 0])


def test_answer_and_foil_that_are_the_same_are_refused(engine):
    with pytest.raises(UserError, match="nothing to recover"):
        patch_sites(engine, [PAIR], LogitDifference(3, 3))


def test_something_that_is_no_model(tiny_gpt2):
    with pytest.raises(UserError, match="A model is a TransformerLens bridge, or an Engine made of one; not 'gpt2'"):
        patch_sites("gpt2", [PAIR], METRIC)
    with pytest.raises(UserError, match="The way is one of fast, ordinary, or None; not 'quick'"):
        Engine(tiny_gpt2.raw, way="quick")


def test_a_sweep_says_in_a_line_what_it_is(engine):
    sweep = patch_neurons(engine, [PAIR], METRIC)
    said = repr(sweep)
    assert said.startswith("<Sweep of 2 layers x 24 neurons, 1 prompt pair: clean ")
    assert "fast way, 10 spot checks within" in said
    assert len(said) < 200


def test_the_top_of_a_sweep_is_a_frame_with_its_axes(engine):
    sweep = patch_neurons(engine, [PAIR], METRIC)
    layer, neuron = divmod(int(sweep.recovery.argmax()), 24)
    best = sweep.top(3)
    assert list(best.columns) == ["layer", "neuron", "recovery", "standard_error", "patched"]
    assert (best["layer"][0], best["neuron"][0]) == (layer, neuron)
    assert best["recovery"].is_monotonic_decreasing
    assert best["recovery"][0] == pytest.approx(float(sweep.recovery.max()))


def test_a_frame_has_a_row_for_each_patch_by_name(engine):
    sites = patch_sites(engine, [PAIR], METRIC)["mlp_out"]
    frame = sites.to_frame()
    assert frame.index.names == ["layer", "position"]
    assert frame.loc[(1, -1), "recovery"] == pytest.approx(float(sites.recovery[1, -1]))
    assert len(frame) == 10
    listed = patch_listed_neurons(engine, [PAIR], METRIC, [(1, 7), (0, 2)]).to_frame()
    assert list(listed.index.get_level_values("neuron")) == ["1.7", "0.2"]
    heads = patch_heads(engine, [PAIR], METRIC)["z"].to_frame()
    assert heads.index.names == ["layer", "head"]
