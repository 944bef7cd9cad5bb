"""Screening: exact patching of the neurons that attribution puts first, and a bound on what that misses.

Where even the exact sweep takes too long, a gradient ranks all neurons, and only the first ones are patched. What the
ranking misses cannot be known from the ranking. So some of the others, drawn at random, are patched as well, and what
is found among them bounds how many there are in all of the others. The bound is exact, whatever the effects are like
and however bad the ranking is: it is a confidence limit for sampling without replacement (hypergeometric).

    found = screen_neurons(engine, prompt_pairs, metric, screen=2000, sample=1000)
    print(found)
    found.to_frame()
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from scipy.stats import hypergeom
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.patching.arguments import checked_layers, checked_prompt_pairs, engine_of
from an_neuron.patching.attribution import attribute
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import Metric
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweeps import patch_listed_neurons
from an_neuron.prompts.pairs import PromptPair

if TYPE_CHECKING:
    import pandas as pd

SCREEN, SAMPLE, RANK = 2000, 1000, 10
CONFIDENCE = 0.95


@dataclass(frozen=True, repr=False)
class Screening:
    """Neurons measured exactly, and a bound on the others.

    Attributes
    ----------
    neurons
        Layer and index of each that was measured: first those that attribution puts first, then those drawn.
    sweep
        Their exact sweep, in this order.
    screened
        How many of them attribution put first.
    of
        How many neurons there are.
    least
        The absolute recovery that counts.
    exceeding
        How many of those drawn exceed it.
    at_most
        How many of those not measured do, at most, with this confidence.
    confidence
        The chance, over draws, that the bound holds is at least this.
    """

    neurons: list[tuple[int, int]]
    sweep: Sweep
    screened: int
    of: int
    least: float
    exceeding: int
    at_most: int
    confidence: float

    def __repr__(self) -> str:
        """Say what was measured and what may have been missed."""
        drawn, left = len(self.neurons) - self.screened, self.of - len(self.neurons)
        measured = f"{len(self.neurons):,} of {self.of:,} neurons were patched exactly"
        if not left:
            return f"{measured}; nothing is left to be missed."
        return (
            f"{measured}: the {self.screened:,} that attribution puts first, and {drawn:,} of the others, drawn at "
            f"random. Of those drawn {self.exceeding:,} exceed an absolute recovery of {self.least:.3g}; with "
            f"{self.confidence:.0%} confidence at most {self.at_most:,} of the {left:,} not measured do."
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return a row for each measured neuron, the largest recovery first: neuron, recovery, …, drawn (or not)."""
        drawn = [number >= self.screened for number in range(len(self.neurons))]
        frame = self.sweep.to_frame().reset_index().assign(drawn=drawn)
        return frame.sort_values("recovery", ascending=False, kind="stable", ignore_index=True)


def screen_neurons(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    layers: Sequence[int] | None = None,
    *,
    screen: int = SCREEN,
    sample: int = SAMPLE,
    least: float | None = None,
    rank: int = RANK,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    tokens_per_wave: int | None = None,
) -> Screening:
    """Patch the neurons that attribution puts first, and some of the others, drawn at random.

    Parameters
    ----------
    model
        A bridge, or an engine made of one.
    prompt_pairs
        Token ids of the prompts.
    metric
        What is measured.
    layers
        Layers whose neurons are ranked; all that come before what is measured if None.
    screen
        How many neurons of the largest absolute estimate are patched.
    sample
        How many of the others are drawn, each set of so many being equally likely, and patched.
    least
        The absolute recovery that counts; if None, that of rank `rank` among the screened neurons. It must not depend
        on the neurons drawn.
    rank
        See `least`.
    confidence
        Of the bound.
    seed
        Of the draw.
    tokens_per_wave
        As in `patch_neurons`.

    Raises
    ------
    UserError
        If an argument is wrong, or the sweep fails as `patch_neurons` may.
    """
    engine = engine_of(model)
    pairs = checked_prompt_pairs(engine, prompt_pairs, tokens_per_wave)
    _check(screen, sample, rank, confidence, least)
    ranked = _ranked(engine, pairs, metric, checked_layers(engine, metric, layers))
    first, others = ranked[:screen], ranked[screen:]
    drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[:sample].tolist()
    neurons = first + [others[number] for number in drawn]
    sweep = patch_listed_neurons(engine, pairs, metric, neurons, tokens_per_wave=tokens_per_wave)
    effects = sweep.recovery.abs().nan_to_num(nan=torch.inf)  # what overflows is an effect
    if least is None:
        least = float(effects[: len(first)].sort(descending=True).values[min(rank, len(first)) - 1])
    exceeding = int((effects[len(first) :] > least).sum())
    at_most = most_exceeding(exceeding, len(drawn), len(others), confidence) - exceeding
    return Screening(neurons, sweep, len(first), len(ranked), least, exceeding, at_most, confidence)


def most_exceeding(exceeding: int, sample: int, of: int, confidence: float = CONFIDENCE) -> int:
    """Return the upper confidence limit of how many of a population are of a kind, from a sample without replacement.

    It is the largest number with which so few, or fewer, in the sample would be seen with a chance of more than
    1 - confidence; one-sided, and exact (Clopper and Pearson's, of the hypergeometric distribution).

    Parameters
    ----------
    exceeding
        How many of the sample are of the kind.
    sample
        How many were drawn, each set of so many being equally likely.
    of
        How many the population has, with those drawn.
    confidence
        Between 0 and 1.

    Returns
    -------
    int
        The limit, with those in the sample.

    Raises
    ------
    UserError
        If more are of the kind than were drawn, or more drawn than there are.
    """
    if not 0 <= exceeding <= sample <= of:
        raise UserError(f"Of {of} neurons {sample} were drawn, and {exceeding} of them exceed: that cannot be.")
    low, high = exceeding, of - sample + exceeding  # the least that is possible, and the most
    while low < high:
        middle = (low + high + 1) // 2
        if hypergeom.cdf(exceeding, of, middle, sample) > 1 - confidence:
            low = middle
        else:
            high = middle - 1
    return low


def _ranked(
    engine: Engine, prompt_pairs: Sequence[PromptPair], metric: Metric, layers: Sequence[int]
) -> list[tuple[int, int]]:
    """Return all neurons of some layers, those of the largest absolute estimate first."""
    sites = [(layer, "post") for layer in layers]
    effects = attribute(engine.ordinary, prompt_pairs, metric, sites)
    estimates = [effects[site].sum(1).mean(0) for site in sites]
    numbers = [(layer, index) for layer, values in zip(layers, estimates, strict=True) for index in range(len(values))]
    order: Tensor = torch.cat(estimates).abs().argsort(descending=True, stable=True)
    return [numbers[number] for number in order.tolist()]


def _check(screen: int, sample: int, rank: int, confidence: float, least: float | None) -> None:
    for name, number in (("screen", screen), ("sample", sample), ("rank", rank)):
        if number < 1:
            raise UserError(f"{name} must be at least 1, not {number}.")
    if least is None and rank > screen:
        raise UserError(f"rank is one of the {screen} screened neurons, not {rank}; screen more, or give least.")
    if not 0 < confidence < 1:
        raise UserError(f"confidence lies between 0 and 1, as 0.95 does, not {confidence}.")
    if least is not None and not least >= 0:
        raise UserError(f"least is an absolute recovery, 0 or more, not {least}.")
