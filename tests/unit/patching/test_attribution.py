from math import isnan

import pytest
import torch
from slow_reference import one_forward_per_patch

from an_neuron.patching.attribution import attribute_neurons
from an_neuron.patching.comparison import rank_correlation
from an_neuron.patching.engine import LogitDifference
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.prompts.pairs import PromptPair

PROMPT_PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
SHORT = PromptPair([0, 5, 14, 2], [0, 5, 15, 2])
ANSWER, FOIL = 3, 7
STEP = 1e-2


def test_estimate_is_the_slope_of_a_small_patch(tiny):
    """A step of a hundredth of the way, run both ways, moves the logit difference by a hundredth of the estimate."""

    def slopes(layer):
        def put(step):
            def write(corrupted, clean, neuron):
                corrupted[0, :, neuron] += step * (clean[0, :, neuron] - corrupted[0, :, neuron])

            return write

        ways = [
            one_forward_per_patch(tiny.raw, PROMPT_PAIR, "post", layer, range(24), put(step), ANSWER, FOIL)
            for step in (STEP, -STEP)
        ]
        return (ways[0] - ways[1]) / (2 * STEP)

    estimate = attribute_neurons(tiny.raw, [PROMPT_PAIR], ANSWER, FOIL, [0, 1])
    base = patch_neurons(tiny.raw, [PROMPT_PAIR], LogitDifference(ANSWER, FOIL), [0]).corrupted
    measured = torch.stack([slopes(0), slopes(1)])
    effects = (estimate - base)[0]
    assert float(effects.abs().max()) > 0.05
    assert float((effects - measured).abs().max()) < 2e-3 * max(1, float(effects.abs().max()))


def test_each_prompt_pair_and_layer_has_its_own_estimate(tiny_gpt2):
    both = attribute_neurons(tiny_gpt2.raw, [PROMPT_PAIR, SHORT], ANSWER, FOIL, [1, 0])
    for number, prompt_pair in enumerate((PROMPT_PAIR, SHORT)):
        alone = attribute_neurons(tiny_gpt2.raw, [prompt_pair], ANSWER, FOIL, [0, 1])
        torch.testing.assert_close(both[number], alone[0].flip(0))


def test_no_gradient_is_left_behind(tiny_gpt2):
    attribute_neurons(tiny_gpt2.raw, [PROMPT_PAIR], ANSWER, FOIL, [0])
    assert all(parameter.grad is None for parameter in tiny_gpt2.raw.parameters())


def test_values_without_an_order_have_no_rank_correlation():
    assert isnan(rank_correlation(torch.zeros(3), torch.tensor([1.0, 2, 3])))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 99], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3], [1, 3, 2], 0.5),
        # Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: 4.5 / sqrt(4.5 * 5).
        ([1, 2, 2, 3], [1, 2, 3, 4], 4.5 / (4.5 * 5) ** 0.5),
    ],
)
def test_rank_correlation_by_hand(one, other, expected):
    assert rank_correlation(torch.tensor(one).float(), torch.tensor(other).float()) == pytest.approx(expected)
