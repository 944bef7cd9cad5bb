import itertools

import numpy as np
import pytest

from an_neuron.patching.evidence import corrected, intervals, next_best, p_not_zero


def columns(*values):
    return np.array(values, dtype=float).T


def test_intervals_are_those_worked_out_by_hand():
    low, high = intervals(columns([0, 2]))
    # Two pairs: a quarter of all draws has 0 twice. Three: 1 of 27. Both are more than 2.5 %.
    assert (low.tolist(), high.tolist()) == ([0], [2])
    low, high = intervals(columns([2, 0, 1]))
    assert (low.tolist(), high.tolist()) == ([0], [2])
    # Four, 256 draws: 5 have a sum below 2 (1.95 %), and 15 at most 2 (5.9 %); and the other side likewise.
    low, high = intervals(columns([3, 0, 2, 1]))
    assert (low.tolist(), high.tolist()) == ([0.5], [2.5])


def test_an_interval_moves_and_grows_with_the_values_whatever_the_others_are():
    recovery = np.random.default_rng(1).normal(size=(9, 1))
    low, high = intervals(np.hstack([recovery, 2 * recovery + 1, recovery[::-1] * 0]))
    assert low[1] == pytest.approx(2 * low[0] + 1)
    assert high[1] == pytest.approx(2 * high[0] + 1)
    assert np.isnan([low[2], high[2]]).all()
    assert low[0] < recovery.mean() < high[0]


def test_one_prompt_pair_has_no_interval():
    assert np.isnan(intervals(columns([0.5], [0.25]))).all()
    assert np.isnan(intervals(np.zeros((0, 2)))).all()


def by_enumeration(values):
    """Return the share of all choices of signs whose rank sum lies as far from the middle."""
    ranks = np.abs(values).argsort().argsort() + 1
    middle = ranks.sum() / 2
    far = abs(ranks[np.array(values) > 0].sum() - middle)
    ways = [np.dot(signs, ranks) for signs in itertools.product([0, 1], repeat=len(values))]
    return np.mean([abs(way - middle) >= far for way in ways])


@pytest.mark.parametrize("values", [[1, 2, 3, 4], [1, -2, 3, 4], [-1, 2, -3, 4, 5, 6, 7], [5, 4, -1], [0.5]])
def test_p_is_the_share_of_all_choices_of_signs(values):
    assert p_not_zero(columns(values)).tolist() == pytest.approx([by_enumeration(values)])
    assert p_not_zero(-columns(values)).tolist() == pytest.approx([by_enumeration(values)])


def test_p_by_hand():
    # All of three above 0: 2 of 8 ways. With a 0 and an equal pair: the 0 is left out. Nothing but 0 says nothing.
    assert p_not_zero(columns([1, 2, 3], [0, 0, 0])).tolist() == [0.25, 1]
    assert p_not_zero(columns([0, 1, 2, 3])).tolist() == [0.25]
    assert p_not_zero(columns([1, 1, 1])).tolist() == [0.25]
    assert p_not_zero(np.arange(1.0, 28)[:, None]).tolist() == [2 / 2**27]
    assert np.isnan(p_not_zero(np.zeros((0, 2)))).all()


def test_a_corrected_p_is_at_most_one():
    assert corrected(np.array([0.25, 2.0**-12]), 1024).tolist() == [1, 0.25]


def test_the_next_best_is_held_against_the_studied_neuron_by_exchanging_them():
    other = next_best(columns([3, 2, 4], [0, 0, 1], [1, 1, 1]))
    # Differences 2, 1 and 3, all above 0: 2 of 8 ways to exchange give a mean as far from 0.
    assert (other.neuron, other.mean, other.p) == (2, 1, 0.25)
    same = next_best(columns([1, 2], [1, 2]))
    assert (same.neuron, same.mean, same.p) == (1, 1.5, 1)
    # A better one than the studied neuron is the next best too: it is the best of the others.
    assert next_best(columns([0, 0, 0], [1, 2, 3])).p == 0.25


def test_many_prompt_pairs_are_exchanged_at_random_and_the_same_again():
    recovery = np.random.default_rng(0).normal(size=(20, 2))
    recovery[:, 0] += 9
    # 2^20 ways; the drawn ones and the one that was seen: 1 of 10,000 on each side.
    assert next_best(recovery).p == pytest.approx(2 / 10_000)
    assert next_best(recovery) == next_best(recovery)


def test_there_is_no_next_best_without_another_neuron_or_a_second_prompt_pair():
    assert next_best(columns([1, 2])) is None
    assert next_best(columns([1], [2])) is None
