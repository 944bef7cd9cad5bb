import numpy as np
import pytest

from an_neuron.corpus.thresholds import better_side, curve_of_counts, curve_of_values

ACTIVATION = np.array([-1.0, 0.0, 1.0, 1.0, 2.0, 3.0, 4.0])
HIT = np.array([True, False, False, True, False, True, True])


def test_precision_and_recall_are_worked_out_by_hand():
    curve = curve_of_values(ACTIVATION, HIT)
    assert curve.threshold.tolist() == [0, 1, 2, 3, 4]
    assert curve.precision.tolist()[:4] == [3 / 5, 2 / 3, 1, 1]
    assert np.isnan(curve.precision[4])  # nothing is above
    assert curve.recall.tolist() == [3 / 4, 2 / 4, 2 / 4, 1 / 4, 0]
    assert curve.f1[:4].tolist() == pytest.approx([2 / 3, 4 / 7, 2 / 3, 2 / 5])
    # Of the thresholds 0 and 2, which are equally good, the first.
    assert curve.at_best() == pytest.approx(
        {"best_threshold": 0, "best_precision": 3 / 5, "best_recall": 3 / 4, "best_f1": 2 / 3}
    )


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_counting_gives(seed):
    generator = np.random.default_rng(seed)
    activation = generator.normal(0, 1, (9, 20)).round(1)
    hit = generator.random((9, 20)) < 1 / (1 + np.exp(-3 * activation))
    curve = curve_of_values(activation, hit)
    for threshold, precision, recall in zip(curve.threshold, curve.precision, curve.recall, strict=True):
        above = activation > threshold
        assert recall == pytest.approx((hit & above).sum() / hit.sum())
        if above.any():
            assert precision == pytest.approx((hit & above).sum() / above.sum())
    assert curve.f1[curve.best] == np.nanmax(curve.f1)


def test_bins_give_the_same_curve_at_their_edges():
    generator = np.random.default_rng(7)
    activation, edges = generator.random(500) * 4, np.array([0.5, 1, 2, 4])
    hit = generator.random(500) < activation / 4
    upper = edges[np.searchsorted(edges, activation)]
    hits, totals = ([int((which & (upper == edge)).sum()) for edge in edges] for which in (hit, hit | ~hit))
    binned = curve_of_counts(edges, np.array(hits), np.array(totals), int(hit.sum()))
    for threshold, precision, recall in zip(binned.threshold[:-1], binned.precision, binned.recall, strict=False):
        above = activation > threshold
        assert (precision, recall) == (
            pytest.approx((hit & above).sum() / above.sum()),
            pytest.approx((hit & above).sum() / hit.sum()),
        )


def test_a_token_that_is_never_on_top_has_no_best():
    curve = curve_of_values(ACTIVATION, np.zeros(7, dtype=bool))
    assert np.isnan(curve.recall).all()
    assert np.isnan(list(curve.at_best().values())).all()


def test_a_neuron_that_is_never_active_has_one_threshold():
    curve = curve_of_values(-ACTIVATION[2:], HIT[2:])
    assert curve.threshold.tolist() == [0]
    assert curve.recall.tolist() == [0]
    assert np.isnan(list(curve.at_best().values())).all()


def test_a_thinned_curve_keeps_its_best():
    generator = np.random.default_rng(3)
    activation = generator.random(5000)
    curve = curve_of_values(activation, generator.random(5000) < activation)
    thinned = curve.thinned(100)
    assert 100 <= len(thinned.threshold) <= 101
    assert thinned.at_best() == curve.at_best()
    assert set(thinned.threshold) <= set(curve.threshold)
    assert (thinned.threshold[0], thinned.threshold[-1]) == (curve.threshold[0], curve.threshold[-1])
    assert curve.thinned(10_000) is curve


@pytest.mark.parametrize(("sign", "direction"), [(1, "above"), (-1, "below")])
def test_the_side_that_tells_more_is_kept(sign, direction):
    """ "activation > 2" has two of four hits and nothing else; mirrored it is "activation < -2"."""
    activation = sign * np.array([-5.0, -1.0, 1.0, 1.0, 2.0, 3.0, 4.0])
    hit = np.array([False, False, False, True, True, True, True])
    found, curve = better_side(curve_of_values(activation, hit), curve_of_values(-activation, hit))
    assert found == direction
    assert curve.threshold.tolist() == [sign * t for t in (0, 1, 2, 3, 4)]
    assert str(curve.threshold[0]) == "0.0"
    assert curve.at_best() == pytest.approx(
        {"best_threshold": 0, "best_precision": 4 / 5, "best_recall": 1, "best_f1": 8 / 9}
    )


def test_sides_that_tell_as_much_as_each_other_are_taken_from_above():
    activation, hit = np.array([-1.0, 1.0, 0.0]), np.array([True, True, False])
    assert better_side(curve_of_values(activation, hit), curve_of_values(-activation, hit))[0] == "above"
    never = curve_of_values(activation, hit & False)
    assert better_side(never, never)[0] == "above"
