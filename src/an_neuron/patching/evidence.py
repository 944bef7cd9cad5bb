"""How far a recovery over several prompt pairs is known: intervals and tests over the prompt pairs.

Prompt pairs are what is drawn, as independent of each other; the model and the neuron are given. All of it is for one
neuron at a time, and the same whichever others it is computed beside.
"""

from dataclasses import dataclass

import numpy as np
import scipy  # which loads `stats` when asked: Snakemake reads this module at each start, and calls nothing of it

N_RESAMPLES = 9999
SEED = 0


def intervals(recovery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % bootstrap intervals of the mean over prompt pairs, each [neuron].

    They are bias-corrected and accelerated (BCa); NaN for fewer than two prompt pairs, or where all recover the same.

    Parameters
    ----------
    recovery
        [prompt_pair, neuron].
    """
    ends = np.array([_interval(of_neuron) for of_neuron in recovery.T]).reshape(-1, 2)
    return ends[:, 0], ends[:, 1]


def _interval(recovery: np.ndarray) -> tuple[float, float]:
    if len(recovery) < 2 or not np.ptp(recovery):
        return np.nan, np.nan
    options = {"vectorized": True, "n_resamples": N_RESAMPLES, "method": "BCa", "rng": SEED}
    drawn = scipy.stats.bootstrap((recovery,), np.mean, **options)
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def p_not_zero(recovery: np.ndarray) -> np.ndarray:
    """Return the p of each neuron that its recovery is symmetric about 0: Wilcoxon's signed-rank test, two-sided.

    Its distribution is the exact one, which sampled permutations would cut off at 1 / N_RESAMPLES: for n prompt pairs
    p can be as small as 2 / 2^n, and be corrected for tens of thousands of neurons. Prompt pairs of no recovery are
    left out; of equal ones, which float32 hardly knows, each has their mean rank. NaN without any prompt pair.

    Parameters
    ----------
    recovery
        [prompt_pair, neuron].
    """
    if not len(recovery):
        return np.full(recovery.shape[1], np.nan)
    return np.asarray(scipy.stats.wilcoxon(recovery, axis=0, zero_method="wilcox", method="exact").pvalue)


def corrected(p: np.ndarray, n_tests: int) -> np.ndarray:
    """Return p corrected for the number of neurons of which the best was looked for: Bonferroni, at most 1."""
    return np.minimum(1.0, p * n_tests)


@dataclass(frozen=True)
class NextBest:
    """The neuron that comes next to a studied one, and how surely it comes after it.

    Attributes
    ----------
    neuron
        Its place among the neurons.
    mean
        Its mean recovery.
    p
        Of a paired permutation test, two-sided: that it recovers as much as the studied neuron.
    """

    neuron: int
    mean: float
    p: float


def next_best(recovery: np.ndarray) -> NextBest | None:
    """Return the other neuron of the largest mean recovery; None where there is no other, or no two prompt pairs.

    Each prompt pair's two recoveries are exchanged or not, in all ways where there are at most `N_RESAMPLES` of them,
    else in so many drawn ones. That the other was chosen as the best of many speaks against the studied neuron only.

    Parameters
    ----------
    recovery
        [prompt_pair, neuron], the studied neuron first.
    """
    if len(recovery) < 2 or recovery.shape[1] < 2:
        return None
    place = int(recovery[:, 1:].mean(0).argmax()) + 1
    both = recovery[:, 0], recovery[:, place]
    test = scipy.stats.permutation_test(
        both, _mean_of_difference, permutation_type="samples", n_resamples=N_RESAMPLES, rng=SEED
    )
    return NextBest(place, float(both[1].mean()), float(test.pvalue))


def _mean_of_difference(one: np.ndarray, other: np.ndarray, axis: int) -> np.ndarray:
    return np.mean(one - other, axis=axis)
