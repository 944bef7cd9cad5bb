from math import isnan

import pytest
import torch
from slow_reference import one_forward_per_patch

from an_neuron.patching.attribution import attribute_neurons
from an_neuron.patching.comparison import correlate, rank_correlation, rounding_floor
from an_neuron.patching.metric import LogitDifference
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


EPS = 2.0**-23


def test_rounding_floor_by_hand():
    """64 eps of the larger logit difference, as a share of their distance; of several prompt pairs, of the means."""
    assert rounding_floor(torch.tensor([4.0]), torch.tensor([-12.0])) == pytest.approx(64 * EPS * 12 / 16)
    several = torch.tensor([4.0, 2.0]), torch.tensor([-12.0, 0.0])  # sizes 12 and 2; means 3 and -6
    assert rounding_floor(*several) == pytest.approx(64 * EPS * 7 / 9)


def test_a_small_logit_difference_is_no_more_exact_than_the_logits_behind_it():
    assert rounding_floor(torch.tensor([0.01]), torch.tensor([-0.01])) == pytest.approx(64 * EPS / 0.02)


def test_only_neurons_above_the_floor_are_ranked():
    """Five neurons in perfect order, one of them negative; the noise below the floor runs the other way."""
    exact = torch.tensor([1e-7, 0.1, 2e-7, -0.4, 0.2, 3e-7, 0.3, 0.5, -4e-7])
    estimate = torch.tensor([9.0, 0.2, 8.0, -0.9, 0.3, 7.0, 0.4, 0.6, 6.0])
    assert rank_correlation(exact, estimate) < 0.5
    found = correlate(exact, estimate, 1e-6)
    assert found == {
        "floor": 1e-6,
        "n_above_floor": 5,
        "rank_correlation": pytest.approx(1),
        "n_top": 5,
        "rank_correlation_top": pytest.approx(1),
    }


def test_the_hundred_largest_are_correlated_apart():
    """Of 150 the largest are in order, the other fifty in reverse order."""
    exact = torch.arange(150, 0, -1.0)
    estimate = torch.cat([exact[:100], exact[100:].flip(0)])
    found = correlate(exact, estimate, 1e-6)
    assert (found["n_above_floor"], found["n_top"]) == (150, 100)
    assert found["rank_correlation_top"] == pytest.approx(1)
    # Ranks 1..50 turned round: the sum of squared distances is (50^3 - 50) / 3.
    assert found["rank_correlation"] == pytest.approx(1 - 6 * (50**3 - 50) / 3 / (150**3 - 150))


def test_two_neurons_have_no_rank_correlation():
    found = correlate(torch.tensor([0.7, -0.01, 1e-7, 0]), torch.tensor([0.7, -0.02, 0, 0]), 1e-6)
    assert (found["n_above_floor"], found["n_top"]) == (2, 2)
    assert isnan(found["rank_correlation"])
    assert isnan(found["rank_correlation_top"])
