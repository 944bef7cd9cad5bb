"""Attribution patching: the first-order estimate of what a patch would do.

One gradient of the metric in the base run says how the metric would move with every activation at once. The estimate is
exact where the rest of the model is linear, and wrong where it is not; it stands beside the exact values so that one
sees by how much, and ranks patches where all of them would take too long.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.model.hooks import Function, hooked
from an_neuron.patching.metric import LogitDifference, Metric
from an_neuron.patching.ordinary_model import OrdinaryModel
from an_neuron.patching.runs import Site
from an_neuron.prompts.pairs import PromptPair

Change = tuple[int, str, Function]
"""A layer, a site of it, and what changes its activation, [row, pos, ...]."""


def attribute_neurons(
    model: TransformerBridge, prompt_pairs: Sequence[PromptPair], answer: int, foil: int, layers: Sequence[int]
) -> Tensor:
    """Estimate the logit difference with each neuron patched at all positions (denoising).

    Parameters
    ----------
    model
        A bridge; raw and processed weights give the same estimate.
    prompt_pairs
        Token ids of the prompts.
    answer, foil
        The two tokens that are compared.
    layers
        Layers whose neurons are wanted.

    Returns
    -------
    Tensor
        corrupted + (clean - corrupted activation) . gradient, summed over positions, [prompt_pair, layer, d_mlp].
    """
    ordinary, metric = OrdinaryModel(model), LogitDifference(answer, foil)
    sites = [(layer, "post") for layer in layers]
    corrupted = torch.stack([ordinary.run(pair.corrupted, metric)[0] for pair in prompt_pairs]).cpu()
    effects = attribute(ordinary, prompt_pairs, metric, sites)
    return torch.stack([effects[site].sum(1) for site in sites], dim=1) + corrupted[:, None, None]


def attribute(
    model: OrdinaryModel, prompt_pairs: Sequence[PromptPair], metric: Metric, sites: Sequence[Site]
) -> dict[Site, Tensor]:
    """Estimate by how much the metric changes with each column of some sites patched (denoising).

    Parameters
    ----------
    model
        The model, an engine's `ordinary`.
    prompt_pairs
        Token ids of the prompts.
    metric
        What is measured, of the logits or inside the model.
    sites
        Layers and sites.

    Returns
    -------
    dict
        For each site (clean - corrupted activation) * gradient, [prompt_pair, pos, column], aligned at the prompts'
        last position, 0 where a shorter prompt has none.
    """
    return aligned(prompt_pairs, [_effects(model, pair, metric, sites) for pair in prompt_pairs])


def _effects(model: OrdinaryModel, pair: PromptPair, metric: Metric, sites: Sequence[Site]) -> dict[Site, Tensor]:
    """Return the estimated effects of a prompt pair, [pos, column]."""
    base, slopes = gradients(model, pair.corrupted, metric, sites)
    source = model.activations(pair.clean, sites)
    return {site: (source[site] - base[site][0]) * slopes[site][0] for site in sites}


def aligned(prompt_pairs: Sequence[PromptPair], effects: Sequence[dict[Site, Tensor]]) -> dict[Site, Tensor]:
    """Put the effects of each prompt pair, [pos, column], together: [prompt_pair, pos, column], 0 before its first."""
    longest = max(len(pair.clean) for pair in prompt_pairs)

    def padded(effect: Tensor) -> Tensor:
        return torch.nn.functional.pad(effect.float().cpu(), (0, 0, longest - len(effect), 0))

    return {site: torch.stack([padded(each[site]) for each in effects]) for site in effects[0]}


def of_heads(effects: Tensor, columns: Tensor) -> Tensor:
    """Return the sum of effects, [..., column], over the columns of each head, [head, d_head]: [..., head]."""
    return effects[..., columns.to(effects.device)].sum(-1)


def of_items(model: OrdinaryModel, site: Site, effects: Tensor) -> Tensor:
    """Return the sum of effects, [..., pos, column], over the positions, and over each head's columns: [..., item]."""
    columns = None if site[1] == "resid_pre" else model.place(*site).columns
    return effects.sum(-2) if columns is None else of_heads(effects.sum(-2), columns)


def gradients(
    model: OrdinaryModel,
    ids: Sequence[int],
    metric: Metric,
    sites: Sequence[Site],
    rows: int = 1,
    *,
    before: Sequence[Change] = (),
    after: Sequence[Change] = (),
) -> tuple[dict[Site, Tensor], dict[Site, Tensor]]:
    """Return the activations of some sites, and the metric's gradients there.

    Parameters
    ----------
    model
        The model.
    ids
        Token ids of a prompt.
    metric
        What is measured.
    sites
        Layers and sites.
    rows
        How many rows of the prompt run at once; each has its own gradients.
    before, after
        What changes the activations of sites, before they are looked at and behind that.

    Returns
    -------
    tuple
        Activations and gradients by site, [row, pos, column], or [row, head, pos, key] for patterns; a gradient is 0
        where nothing leads to the metric.
    """
    seen: dict[Site, Tensor] = {}
    first = model.blocks[min(layer for layer, _ in sites)]  # nothing below needs a gradient
    with torch.enable_grad(), ExitStack() as stack:
        for layer, site, change in before:
            stack.enter_context(model.at(layer, site, change, rows))
        stack.enter_context(hooked([(first, "in", lambda stream: stream.detach().requires_grad_())]))
        for layer, site in sites:
            stack.enter_context(model.at(layer, site, partial(_keep_with_gradient, seen, (layer, site)), rows))
        for layer, site, change in after:
            stack.enter_context(model.at(layer, site, change, rows))
        value = model.measured([ids] * rows, metric).sum()
        if value.requires_grad:
            value.backward()
    slopes = {site: torch.zeros_like(at) if at.grad is None else at.grad for site, at in seen.items()}
    return {site: activation.detach() for site, activation in seen.items()}, slopes


def _keep_with_gradient(seen: dict[Site, Tensor], site: Site, activation: Tensor) -> Tensor:
    """Keep an activation whose gradient is wanted; what goes on is a copy, since a block may add to it in place."""
    activation.retain_grad()
    seen[site] = activation
    return activation.clone()
