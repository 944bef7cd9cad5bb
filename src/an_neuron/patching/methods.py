"""Ways to estimate patches from gradients, each held against exact patching.

Compared are absolute effects, since AtP* gives only sizes. Each method's estimates are recoveries, as exact ones are.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from an_neuron.patching.atp_star import FIXED, attribute_star
from an_neuron.patching.attribution import attribute, of_items
from an_neuron.patching.comparison import LEAST_RANKED, rank_correlation
from an_neuron.patching.integrated import integrate_activations, integrate_inputs
from an_neuron.patching.metric import Metric
from an_neuron.patching.ordinary_model import OrdinaryModel
from an_neuron.patching.runs import Site
from an_neuron.prompts.pairs import PromptPair

Method = Callable[[OrdinaryModel, Sequence[PromptPair], Metric, Sequence[Site]], dict[Site, Tensor]]
"""Returns effects by site, [prompt_pair, item]."""
COUNTS = {"post": (10, 100), "z": (5, 20), "v": (5, 20), "q": (5, 20), "k": (5, 20)}
"""For the neurons and for the heads of each site: how many of the largest are looked for among as many."""
SHARE = 3
"""No more than a third of all are looked for: more are found by chance."""
EFFECT = 0.01
"""A recovery of this size is one that should not be missed."""
SPARE = 2
"""Missed is what is not among this many times as many as are looked for."""


def _summed(estimate: Method) -> Method:
    """Make a method's effects, [prompt_pair, pos, column], those of neurons and heads."""

    def by_item(
        model: OrdinaryModel, prompt_pairs: Sequence[PromptPair], metric: Metric, sites: Sequence[Site]
    ) -> dict[Site, Tensor]:
        effects = estimate(model, prompt_pairs, metric, sites)
        return {site: of_items(model, site, effects[site]) for site in sites}

    return by_item


METHODS: dict[str, Method] = {
    "attribution": _summed(attribute),
    "integrated gradients, inputs": _summed(integrate_inputs),
    "integrated gradients, activations": _summed(integrate_activations),
    "query-key fix": partial(attribute_star, drop=False),
    "AtP*": attribute_star,
}


def concerns(method: str, site: str) -> bool:
    """Return whether a method is another one than attribution at a site."""
    return method != "query-key fix" or site in FIXED


def estimate(
    model: OrdinaryModel, prompt_pairs: Sequence[PromptPair], metric: Metric, layers: Mapping[str, Sequence[int]]
) -> dict[str, np.ndarray]:
    """Estimate recovery by each method.

    Parameters
    ----------
    model
        The model, an engine's `ordinary`.
    prompt_pairs
        Token ids of the prompts.
    metric
        What is measured.
    layers
        Layers by site; each of them has the same number of neurons or heads.

    Returns
    -------
    dict
        By site, [method, layer, item]; AtP*'s have no sign, and NaN stands for a method that does not concern the site.
    """
    span = float(
        np.mean([float(model.run(pair.clean, metric) - model.run(pair.corrupted, metric)) for pair in prompt_pairs])
    )
    found: dict[str, list[np.ndarray]] = {site: [] for site in layers}
    for name, method in METHODS.items():
        sites = [(layer, site) for site in layers if concerns(name, site) for layer in layers[site]]
        effects = method(model, prompt_pairs, metric, sites)
        for site in layers:
            found[site].append(_recovery(effects, site, layers[site], abs(span) if name == "AtP*" else span))
    nothing = {site: np.full_like(values[0], np.nan) for site, values in found.items()}
    return {site: np.stack([nothing[site] if not each.size else each for each in found[site]]) for site in layers}


def _recovery(effects: Mapping[Site, Tensor], site: str, layers: Sequence[int], span: float) -> np.ndarray:
    """Return the mean over the prompt pairs, [layer, item], empty where a site was not estimated."""
    here = [effects[layer, site].mean(0) / span for layer in layers if (layer, site) in effects]
    return np.asarray(torch.stack(here).numpy() if here else np.empty(0))


def precision(exact: np.ndarray, estimated: np.ndarray, k: int) -> float:
    """Return the share of exact's k largest absolute values that are among the estimate's k largest."""
    return len({*largest(exact, k)} & {*largest(estimated, k)}) / k


def largest(values: np.ndarray, k: int) -> list[int]:
    """Return the places of the k largest absolute values, the first of equals first."""
    return [int(place) for place in np.argsort(-np.abs(values), kind="stable")[:k]]


def agreement(exact: np.ndarray, estimated: np.ndarray, floor: float, counts: tuple[int, int]) -> dict[str, float]:
    """Return how well an estimate finds what exact patching finds.

    Parameters
    ----------
    exact, estimated
        Recovery, [item].
    floor
        The least absolute exact recovery that is more than rounding; nothing below it is looked for.
    counts
        How many of the largest are looked for, a few and many.

    Returns
    -------
    dict
        The columns of `METHODS_CSV` behind kind and method; NaN where too little is above the floor.
    """
    ranked = largest(exact, int((np.abs(exact) > floor).sum()))
    sizes = [torch.from_numpy(np.abs(values[ranked])) for values in (exact, estimated)]
    few, many = (min(count, len(ranked), len(exact) // SHARE) for count in counts)
    sought = [place for place in ranked[:many] if abs(exact[place]) > EFFECT]
    return {
        "nodes": len(exact),
        "above_floor": len(ranked),
        "rank_correlation": rank_correlation(*sizes) if len(ranked) >= LEAST_RANKED else np.nan,
        "few": few,
        "precision_few": precision(exact, estimated, few) if few else np.nan,
        "many": many,
        "precision_many": precision(exact, estimated, many) if many else np.nan,
        "sought": len(sought),
        "missed": len({*sought} - {*largest(estimated, SPARE * many)}),
    }
