"""How well "activation > t" tells that a token is the top prediction, for every threshold t.

A signed neuron may do so from the other side: "activation < t", which is "-activation > -t".
"""

from dataclasses import dataclass

import numpy as np

MOST_POINTS = 20_000
"""How many thresholds of a curve are kept to be drawn; the best one is found among all."""
ROUNDING = 1e-12
"""How far apart, relatively, two F1 of equal worth may be computed."""


def f1_score(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return the harmonic mean of precision and recall; NaN where it has no value."""
    both = precision + recall
    return np.divide(2 * precision * recall, both, out=np.full_like(both, np.nan), where=both > 0)


@dataclass(frozen=True)
class Curve:
    """Precision and recall of "activation > threshold", each [threshold], and the place of the best F1.

    Where it is mirrored, those of "activation < threshold".
    Precision is NaN where no activation is above the threshold, recall (and the best) where there is nothing to find.
    """

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    best: int | None

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall."""
        return f1_score(self.precision, self.recall)

    @property
    def best_f1(self) -> float:
        """The largest F1; 0 where there is none."""
        return 0.0 if self.best is None else float(self.f1[self.best])

    def mirrored(self) -> "Curve":
        """Return the curve of -activation as that of "activation < t", with the same precision and recall."""
        return Curve(0.0 - self.threshold, self.precision, self.recall, self.best)

    def at_best(self) -> dict[str, float]:
        """Return threshold, precision, recall and f1 with the largest F1; NaN where there is none."""
        names = ("threshold", "precision", "recall", "f1")
        return {
            f"best_{name}": np.nan if self.best is None else float(getattr(self, name)[self.best]) for name in names
        }

    def thinned(self, limit: int = MOST_POINTS) -> "Curve":
        """Return the curve with at most about so many thresholds, evenly taken, the best one among them."""
        if len(self.threshold) <= limit:
            return self
        kept = np.linspace(0, len(self.threshold) - 1, limit).round().astype(int)
        kept = np.unique(kept if self.best is None else np.append(kept, self.best))
        best = None if self.best is None else int(np.searchsorted(kept, self.best))
        return Curve(self.threshold[kept], self.precision[kept], self.recall[kept], best)


def better_side(above: Curve, below: Curve) -> tuple[str, Curve]:
    """Return the direction, above or below, with the larger best F1 and its curve; above where they are equal.

    Parameters
    ----------
    above
        The curve of the activation.
    below
        The curve of its negative.
    """
    if below.best_f1 > above.best_f1 * (1 + ROUNDING):
        return "below", below.mirrored()
    return "above", above


def curve_of_values(activation: np.ndarray, hit: np.ndarray) -> Curve:
    """Return the curve with a threshold at 0 and at every positive activation.

    Parameters
    ----------
    activation
        Of any shape.
    hit
        Whether the token is the top prediction there.
    """
    positive = activation > 0
    values, which = np.unique(activation[positive], return_inverse=True)
    totals = np.bincount(which, minlength=len(values))
    hits = np.bincount(which, hit[positive], minlength=len(values)).astype(np.int64)
    return curve_of_counts(values, hits, totals, int(hit.sum()))


def curve_of_counts(values: np.ndarray, hits: np.ndarray, totals: np.ndarray, all_hits: int) -> Curve:
    """Return the curve with a threshold at 0 and at each value.

    Parameters
    ----------
    values
        Ascending positive activations, or upper edges of bins, [value].
    hits, totals
        How many activations have that value (or lie in that bin), with the token as top prediction and in all.
    all_hits
        How often the token is the top prediction, whatever the activation.
    """
    hits_above, above = (np.append(np.cumsum(counts[::-1])[::-1], 0) for counts in (hits, totals))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision, recall = hits_above / above, hits_above / np.float64(all_hits)
    return Curve(np.append(0.0, values), precision, recall, _best(f1_score(precision, recall)))


def _best(f1: np.ndarray) -> int | None:
    """Return the place of the largest F1, the first of equal ones, which may differ in their last digits."""
    if not (f1 > 0).any():
        return None
    return int(np.flatnonzero(f1 >= np.nanmax(f1) * (1 - ROUNDING))[0])
