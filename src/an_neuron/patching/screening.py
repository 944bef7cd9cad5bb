"""Screening: exact patching of the neurons that attribution puts first, and a bound on what that misses.

Where even the exact sweep takes too long, a gradient ranks all neurons, and only the first ones are patched. What the
ranking misses cannot be known from the ranking. So some of the others, drawn at random, are patched as well, and what
is found among them bounds how many there are in all of the others (`screened`).

    found = screen_neurons(engine, prompt_pairs, metric, screen=2000, sample=1000)
    print(found)
    found.to_frame()
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.patching.arguments import checked_layers, checked_prompt_pairs, engine_of, number_of
from an_neuron.patching.attribution import attribute
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import Metric
from an_neuron.patching.rounding import rounding_floor
from an_neuron.patching.screen_sizes import SAMPLE, SCREEN
from an_neuron.patching.screened import CONFIDENCE, RANK, Screened, bound
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweeps import patch_listed_neurons
from an_neuron.prompts.pairs import PromptPair

if TYPE_CHECKING:
    import pandas as pd


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
            f"random. Of the neurons drawn {self.exceeding:,} exceed an absolute recovery of {self.least:.3g}; with "
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
    model, prompt_pairs, metric, layers, screen, sample, seed
        As in `choose_neurons`.
    least
        The absolute recovery that counts; if None, that of rank `rank` among the screened neurons, or rounding where
        that is more. It must not depend on the neurons drawn.
    rank
        See `least`.
    confidence
        Of the bound.
    tokens_per_wave
        As in `patch_neurons`.

    Raises
    ------
    UserError
        If an argument is wrong, or the sweep fails as `patch_neurons` may.
    """
    _check_bound(screen, rank, confidence, least)
    engine = engine_of(model)
    pairs = checked_prompt_pairs(engine, prompt_pairs, tokens_per_wave)
    chosen = choose_neurons(engine, pairs, metric, layers, screen=screen, sample=sample, seed=seed)
    sweep = patch_listed_neurons(engine, pairs, metric, chosen.neurons(), tokens_per_wave=tokens_per_wave)
    floor = rounding_floor(sweep.clean, sweep.corrupted)
    found = bound(sweep.recovery.numpy(), chosen.drawn, chosen.of, floor, least, rank, confidence)
    first = int((~chosen.drawn).sum())
    return Screening(chosen.neurons(), sweep, first, chosen.of, **vars(found), confidence=confidence)


def choose_neurons(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    layers: Sequence[int] | None = None,
    *,
    screen: int = SCREEN,
    sample: int = SAMPLE,
    seed: int = 0,
    studied: tuple[int, int] | None = None,
) -> Screened:
    """Return the neurons that a screen patches: those that attribution puts first, then some of the others.

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
    seed
        Of the draw.
    studied
        Layer and index of a neuron that counts as the first of all, if it is of these layers.

    Raises
    ------
    UserError
        If an argument is wrong.
    """
    _check_numbers(screen=screen, sample=sample)
    engine = engine_of(model)
    pairs = checked_prompt_pairs(engine, prompt_pairs, None)
    ranked = _ranked(engine, pairs, metric, checked_layers(engine, metric, layers))
    if studied in ranked:
        ranked = [studied, *(neuron for neuron in ranked if neuron != studied)]
    first, others = ranked[:screen], ranked[screen:]
    drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(seed))[:sample].tolist()
    layer, index = np.array([*first, *(others[number] for number in drawn)], dtype=np.int32).T
    return Screened(layer, index, np.arange(len(layer)) >= len(first), len(ranked))


def patch_screened(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    layers: Sequence[int],
    screened: Screened,
) -> Sweep:
    """Patch the neurons of some layers that a screen chose.

    Returns
    -------
    Sweep
        `patched` is [prompt_pair, layer, d_mlp], as that of `patch_neurons`; NaN of the neurons that were not chosen.
    """
    engine, here = engine_of(model), screened.within(layers)
    d_mlp = number_of(engine, "post", layers)
    axes = (("layer", layers), ("neuron", range(d_mlp)))
    patched = torch.full((len(prompt_pairs), len(layers), d_mlp), torch.nan)
    if not len(here.layer):  # then only the prompts are measured
        ends = [[float(engine.ordinary.run(ids, metric)) for ids in pair] for pair in _ends(prompt_pairs)]
        clean, corrupted = torch.tensor(ends).T
        return Sweep(clean, corrupted, patched, way="ordinary", axes=axes)
    sweep = patch_listed_neurons(engine, prompt_pairs, metric, here.neurons())
    row = {layer: number for number, layer in enumerate(layers)}
    patched[:, [row[layer] for layer in here.layer.tolist()], here.index.tolist()] = sweep.patched
    return replace(sweep, patched=patched, axes=axes)


def _ends(prompt_pairs: Sequence[PromptPair]) -> list[tuple[list[int], list[int]]]:
    return [(pair.clean, pair.corrupted) for pair in prompt_pairs]


def _ranked(
    engine: Engine, prompt_pairs: Sequence[PromptPair], metric: Metric, layers: Sequence[int]
) -> list[tuple[int, int]]:
    """Return all neurons of some layers, those of the largest absolute estimate first."""
    sites = [(layer, "post") for layer in layers]
    estimates = [torch.zeros(engine.ordinary.n_items(*site) or 0) for site in sites]
    for pair in prompt_pairs:  # one at a time: effects by position take much memory
        effects = attribute(engine.ordinary, [pair], metric, sites)
        for estimate, site in zip(estimates, sites, strict=True):
            estimate += effects[site][0].sum(0).cpu()
    numbers = [(layer, index) for layer, values in zip(layers, estimates, strict=True) for index in range(len(values))]
    order: Tensor = torch.cat(estimates).abs().argsort(descending=True, stable=True)
    return [numbers[number] for number in order.tolist()]


def _check_numbers(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise UserError(f"{name} must be at least 1, not {number}.")


def _check_bound(screen: int, rank: int, confidence: float, least: float | None) -> None:
    _check_numbers(screen=screen, rank=rank)
    if least is None and rank > screen:
        raise UserError(f"rank is one of the {screen} screened neurons, not {rank}; screen more, or give least.")
    if not 0 < confidence < 1:
        raise UserError(f"confidence lies between 0 and 1, as 0.95 does, not {confidence}.")
    if least is not None and not least >= 0:
        raise UserError(f"least is an absolute recovery, 0 or more, not {least}.")
