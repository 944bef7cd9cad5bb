"""Intervals that say how far a proportion or a correlation is known."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

NORMAL_95 = 1.959964
"""Standard deviations to each side."""
N_RESAMPLES = 1000
SEED = 0
VALUES_AT_ONCE = 1 << 22
"""Weights of positions that are held at once while resampling."""


def wilson_interval(hits: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % Wilson intervals of the proportions hits / totals; NaN where there is nothing.

    Unlike hits / totals plus or minus its standard error, it stays inside 0 to 1 and has a width at 0 and 1.
    """
    n = np.where(totals > 0, totals, np.nan)
    share, extra = hits / n, NORMAL_95**2 / n
    middle = share + extra / 2
    half = NORMAL_95 * np.sqrt(share * (1 - share) / n + extra / n / 4)
    return np.clip((middle - half) / (1 + extra), 0, 1), np.clip((middle + half) / (1 + extra), 0, 1)


@dataclass(frozen=True)
class Estimate:
    """A correlation and the ends of its 95 % interval; NaN where it has none."""

    value: float
    low: float
    high: float


def correlations(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> dict[str, Estimate]:
    """Return Pearson's and Spearman's correlation, with 95 % bootstrap intervals by group.

    Groups are drawn with replacement, since values of one group (a document or row of a corpus) depend on each other.
    Ranks are those among the drawn values.

    Parameters
    ----------
    x, y
        Values, [n].
    group
        The group of each, [n].
    """
    x, y = x.astype(float), y.astype(float)
    once = np.ones((1, len(x)))
    values = {name: function(x, y, once)[0] for name, function in KINDS.items()}
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in KINDS}
    for weight in _resampled(group):
        for name, function in KINDS.items():
            drawn[name].append(function(x, y, weight))
    return {name: Estimate(float(value), *_middle_95(drawn[name])) for name, value in values.items()}


def mean_intervals(sums: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % bootstrap intervals, by group, of the means sums / counts of all groups.

    Parameters
    ----------
    sums, counts
        Of each group (a document or row of a corpus) and each mean, [group, mean].

    Returns
    -------
    tuple of numpy.ndarray
        Lower and upper ends, [mean]; NaN where there is nothing, or only one group.
    """
    drawn = [np.full((1, sums.shape[1]), np.nan)]
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn += [(weight @ sums) / (weight @ counts) for weight in _resampled(np.arange(len(sums)))]
    ends = [_middle_95([column]) for column in np.concatenate(drawn).T]
    low, high = np.array(ends).reshape(-1, 2).T
    return low, high


def sums_of_groups(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the sums over the rows of each group, [group, …], of values, [row, …]."""
    different, place = np.unique(group, return_inverse=True)
    sums = np.zeros((len(different), *values.shape[1:]))
    np.add.at(sums, place, values)
    return sums


def pearson(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the correlation of values, [n] or [sample, n], that occur `weight` times, [sample, n]; NaN without any."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y = (values - (weight * values).sum(-1, keepdims=True) / weight.sum(-1, keepdims=True) for values in (x, y))
        both, of_x, of_y = ((weight * product).sum(-1) for product in (x * y, x * x, y * y))
        return np.where((of_x > 0) & (of_y > 0), both / np.sqrt(of_x * of_y), np.nan)


def spearman(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the correlation of the ranks of values, [n], that occur `weight` times, [sample, n]."""
    return pearson(ranks(x, weight), ranks(y, weight), weight)


def ranks(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the mean rank, from 1, of each value among all that occur `weight` times, [sample, n]."""
    different, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(different)))
    if not len(values):
        return weight
    totals = np.add.reduceat(weight[:, order], starts, axis=1)  # [sample, different value]
    return (totals.cumsum(axis=1) - (totals - 1) / 2)[:, place]


KINDS = {"pearson": pearson, "spearman": spearman}


def _resampled(group: np.ndarray) -> Iterator[np.ndarray]:
    """Yield how often each value is drawn, [sample, n], `N_RESAMPLES` samples in all; none of fewer than two groups."""
    different, place = np.unique(group, return_inverse=True)
    generator, n_groups, left = np.random.default_rng(SEED), len(different), N_RESAMPLES * (len(different) > 1)
    while left:
        number = min(left, max(1, VALUES_AT_ONCE // len(group)))
        yield generator.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=number)[:, place].astype(float)
        left -= number


def _middle_95(drawn: list[np.ndarray]) -> tuple[float, float]:
    """Return the ends of the middle 95 % of what was drawn."""
    values = np.concatenate([*drawn, []])
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
