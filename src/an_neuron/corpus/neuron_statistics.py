"""Statistics of every neuron over a corpus, in a memory that does not depend on it.

Counts, extremes and places of the parts of a corpus add up to exactly those of the whole. Sums of powers are in
float64, so that what is made of them, mean, deviation and kurtosis, is the same but for its last digits.

A bin is at most 12.5 % wide, so that a quantile, the middle of its bin, is within 7 %; between 0 and 2⁻⁸ there is one
bin, and a quantile is within 0.002. Bins are mirrored at 0, since activations below it (GELU's, and those of gated
MLPs) count as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np

from an_neuron.corpus.summaries import octaves

STEPS = 8
"""Bins of activation in an octave, a power of two: a bin is then some leading bits of a float32."""
LOW, HIGH = -8, 16
EDGES = np.concatenate([[-np.inf, 0.0], octaves(LOW, HIGH, STEPS), [np.inf]])
"""Edges of the bins from 0 on; a bin holds the edge that is farther from 0."""
ZERO_BIN = len(EDGES) - 2
"""The bin of 0 itself, in the middle."""
N_BINS = 2 * ZERO_BIN + 1
POWERS = (1, 2, 3, 4)
N_PLACES = 5
"""How many of the most activating places are kept of each neuron."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
FIRES_ABOVE = 0.1
"""A neuron of a gated MLP fires where it is beyond this share of its largest absolute activation."""


@dataclass
class NeuronStatistics:
    """What is known of the neurons of some layers after some tokens.

    Attributes
    ----------
    bin_count
        Tokens in each bin, [layer, d_mlp, bin].
    power_sum
        Sums of the activation's powers 1 to 4, [layer, d_mlp, power].
    least, most
        The lowest and the largest activation, [layer, d_mlp].
    activation, row, pos
        The most activating places, best first, of equal ones the first in the corpus, [layer, d_mlp, place].
    """

    bin_count: np.ndarray
    power_sum: np.ndarray
    least: np.ndarray
    most: np.ndarray
    activation: np.ndarray
    row: np.ndarray
    pos: np.ndarray

    @property
    def n_tokens(self) -> int:
        """How many tokens there were."""
        return int(self.bin_count[0, 0].sum())

    def merge(self, later: "NeuronStatistics") -> None:
        """Add those of a later part of the corpus."""
        self.bin_count += later.bin_count
        self.power_sum += later.power_sum
        self.least, self.most = np.minimum(self.least, later.least), np.maximum(self.most, later.most)
        places = [np.concatenate([getattr(one, name) for one in (self, later)], axis=-1) for name in PLACE_COLUMNS]
        order = np.argsort(-places[0], axis=-1, kind="stable")[..., :N_PLACES]
        self.activation, self.row, self.pos = (np.take_along_axis(values, order, axis=-1) for values in places)

    def described(self, signed: bool) -> dict[str, np.ndarray]:
        """Return what the statistics say, by name, each [layer, d_mlp] and quantile [layer, d_mlp, quantile].

        Parameters
        ----------
        signed
            Whether negative activations write as positive ones do, as in gated MLPs.
        """
        return {
            "firing_rate": np.stack([*self._firing_rates(signed)]),
            **self._moments(),
            "minimum": self.least,
            "maximum": self.most,
            "quantile": np.stack([*self._quantiles()]),
        }

    def _firing_rates(self, signed: bool) -> Iterator[np.ndarray]:
        """Yield of each layer the share of tokens at which each neuron fires, [d_mlp].

        That is above 0; of gated MLPs, farther from 0 than a tenth of the largest absolute activation, to a bin's edge.
        """
        largest = np.maximum(np.abs(self.least), np.abs(self.most))
        beyond = np.searchsorted(EDGES, FIRES_ABOVE * largest, side="left") - 1 if signed else np.zeros_like(largest)
        bins = np.arange(N_BINS) - ZERO_BIN
        for count, least in zip(self.bin_count, beyond, strict=True):
            fires = (np.abs(bins) if signed else bins) > least[:, None]
            yield (count * fires).sum(-1) / self.n_tokens

    def _moments(self) -> dict[str, np.ndarray]:
        first, second, third, fourth = np.moveaxis(self.power_sum / self.n_tokens, -1, 0)
        variance = np.maximum(second - first**2, 0)
        central = fourth - 4 * first * third + 6 * first**2 * second - 3 * first**4
        with np.errstate(invalid="ignore", divide="ignore"):
            kurtosis = np.where(variance > 0, central / variance**2, np.nan)
        return {"mean": first, "standard_deviation": np.sqrt(variance), "kurtosis": kurtosis}

    def _quantiles(self) -> Iterator[np.ndarray]:
        """Yield of each layer the middles of the bins in which the quantiles lie, [d_mlp, quantile]."""
        for count, least, most in zip(self.bin_count, self.least, self.most, strict=True):
            upto = count.cumsum(-1)[:, None] < np.array(QUANTILES)[:, None] * self.n_tokens
            yield np.clip(MIDDLES[upto.sum(-1)], least[:, None], most[:, None])


def _middles() -> np.ndarray:
    """Return the middle of each bin; that of the outermost ones is their finite edge."""
    positive = (EDGES[1:-1] + np.append(EDGES[2:-1], EDGES[-2])) / 2
    return np.concatenate([-positive[::-1], [0.0], positive])


MIDDLES = _middles()
PLACE_COLUMNS = ("activation", "row", "pos")
COLUMNS = tuple(field.name for field in fields(NeuronStatistics))
