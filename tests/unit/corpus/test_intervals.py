import numpy as np
import pytest

from an_neuron.corpus import intervals
from an_neuron.corpus.intervals import (
    correlations,
    mean_intervals,
    pearson,
    ranks,
    spearman,
    sums_of_groups,
    wilson_interval,
)


def test_wilson_intervals_are_those_done_by_hand():
    # n = 10, p = 0.8, z = 1.96: (0.8 + 0.192 -+ 1.96 * sqrt(0.016 + 0.0096)) / 1.384
    low, high = wilson_interval(np.array([8, 0, 10, 0]), np.array([10, 10, 10, 0]))
    assert low == pytest.approx([0.4902, 0.0, 0.7225, np.nan], abs=1e-4, nan_ok=True)
    assert high == pytest.approx([0.9433, 0.2775, 1.0, np.nan], abs=1e-4, nan_ok=True)


def test_ranks_of_equal_values_are_their_mean():
    values, once = np.array([3.0, 1.0, 3.0, 7.0]), np.ones((1, 4))
    assert ranks(values, once).tolist() == [[2.5, 1.0, 2.5, 4.0]]
    # Drawn twice, never, once and once: 3, 3, 3, 7.
    assert ranks(values, np.array([[2.0, 0.0, 1.0, 1.0]]))[0, [0, 2, 3]].tolist() == [2.0, 2.0, 4.0]


def test_correlations_are_worked_out_by_hand():
    x, y, once = np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0]), np.ones((1, 3))
    assert pearson(x, y, once) == pytest.approx([0.5])
    assert spearman(x, y**3, once) == pytest.approx([0.5])
    assert spearman(x, np.exp(x), once) == pytest.approx([1.0])
    assert np.isnan(pearson(x, np.ones(3), once)).all()


def test_a_weight_is_as_good_as_repeating_the_value():
    generator = np.random.default_rng(0)
    x, y, weight = generator.normal(size=30).round(1), generator.normal(size=30), generator.integers(0, 4, (5, 30))
    for function in (pearson, spearman):
        repeated = [function(np.repeat(x, w), np.repeat(y, w), np.ones((1, w.sum())))[0] for w in weight]
        assert function(x, y, weight.astype(float)) == pytest.approx(repeated)
    assert pearson(x, y, np.ones((1, 30)))[0] == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_intervals_are_those_of_drawing_groups_one_sample_after_the_other(monkeypatch):
    monkeypatch.setattr(intervals, "N_RESAMPLES", 50)
    generator = np.random.default_rng(1)
    group = np.repeat([4, 7, 9, 12], 5)
    x = generator.normal(size=20)
    y = x + generator.normal(size=20)
    draws = np.random.default_rng(intervals.SEED).multinomial(4, [0.25] * 4, size=50)
    samples = [np.repeat(np.arange(20), np.repeat(draw, 5)) for draw in draws]
    drawn = [np.corrcoef(x[sample], y[sample])[0, 1] for sample in samples]
    found = correlations(x, y, group)["pearson"]
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))))
    monkeypatch.setattr(intervals, "VALUES_AT_ONCE", 60)  # three samples at a time
    assert correlations(x, y, group)["pearson"] == found


def test_an_interval_holds_the_value_and_narrows_with_more_groups():
    def estimate(n_groups):
        generator = np.random.default_rng(2)
        x = generator.normal(size=(n_groups, 10))
        y = x + generator.normal(size=(n_groups, 10))
        group = np.indices(x.shape)[0]
        return correlations(x.ravel(), y.ravel(), group.ravel())

    for name in ("pearson", "spearman"):
        few, many = estimate(10)[name], estimate(200)[name]
        for one in (few, many):
            assert one.low < one.value < one.high
        assert many.high - many.low < 0.5 * (few.high - few.low)


def test_one_group_has_no_interval_and_no_values_no_correlation():
    one = correlations(np.arange(3.0), np.arange(3.0), np.zeros(3))["pearson"]
    assert one.value == pytest.approx(1)
    assert np.isnan([one.low, one.high]).all()
    for none in correlations(np.empty(0), np.empty(0), np.empty(0)).values():
        assert np.isnan([none.value, none.low, none.high]).all()


def test_intervals_of_means_are_those_of_drawing_rows_one_sample_after_the_other(monkeypatch):
    monkeypatch.setattr(intervals, "N_RESAMPLES", 50)
    generator = np.random.default_rng(3)
    sums, counts = generator.normal(size=(6, 2)), generator.integers(1, 5, (6, 2)).astype(float)
    draws = np.random.default_rng(intervals.SEED).multinomial(6, [1 / 6] * 6, size=50)
    samples = [np.repeat(np.arange(6), draw) for draw in draws]
    drawn = np.array([sums[sample].sum(0) / counts[sample].sum(0) for sample in samples])
    low, high = mean_intervals(sums, counts)
    assert low == pytest.approx(np.quantile(drawn, 0.025, axis=0))
    assert high == pytest.approx(np.quantile(drawn, 0.975, axis=0))


def test_intervals_of_means_done_by_hand():
    """Of two rows a sample holds one of them twice, or both: the means 0, 1 and 3, each often enough to be an end."""
    sums, counts = np.array([[0.0, 2, 0], [6.0, 4, 0]]), np.array([[4.0, 1, 0], [2.0, 2, 0]])
    low, high = mean_intervals(sums, counts)
    assert low.tolist() == pytest.approx([0, 2, np.nan], nan_ok=True)
    assert high.tolist() == pytest.approx([3, 2, np.nan], nan_ok=True)
    assert np.isnan(mean_intervals(sums[:1], counts[:1])).all(), "one row has no interval"


def test_sums_of_groups_by_hand():
    values = np.array([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]])
    assert sums_of_groups(values, np.array([7, 3, 7])).tolist() == [[4.0, 8.0], [17.0, 34.0]]
    assert sums_of_groups(values, np.arange(3)).tolist() == values.tolist()
