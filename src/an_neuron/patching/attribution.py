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

from an_neuron.model.hooks import hooked
from an_neuron.patching.metric import LogitDifference, Metric
from an_neuron.patching.ordinary_model import OrdinaryModel
from an_neuron.patching.runs import Site
from an_neuron.prompts.pairs import PromptPair


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
    longest = max(len(pair.clean) for pair in prompt_pairs)
    by_site: dict[Site, list[Tensor]] = {site: [] for site in sites}
    for pair in prompt_pairs:
        base, gradients = _gradients(model, pair.corrupted, metric, sites)
        source = model.activations(pair.clean, sites)
        for site in sites:
            effect = ((source[site] - base[site]) * gradients[site]).float().cpu()
            by_site[site].append(torch.nn.functional.pad(effect, (0, 0, longest - len(effect), 0)))
    return {site: torch.stack(effects) for site, effects in by_site.items()}


def of_heads(effects: Tensor, columns: Tensor) -> Tensor:
    """Return the sum of effects, [..., column], over the columns of each head, [head, d_head]: [..., head]."""
    return effects[..., columns.to(effects.device)].sum(-1)


def _gradients(
    model: OrdinaryModel, ids: Sequence[int], metric: Metric, sites: Sequence[Site]
) -> tuple[dict[Site, Tensor], dict[Site, Tensor]]:
    """Return the activations of some sites in a prompt, and the metric's gradients there, each [pos, column]."""
    seen: dict[Site, Tensor] = {}
    with torch.enable_grad(), ExitStack() as stack:
        stack.enter_context(hooked([(model.blocks[0], "in", lambda stream: stream.detach().requires_grad_())]))
        for site in sites:
            stack.enter_context(model.at(*site, partial(_keep_with_gradient, seen, site)))
        model.measured(ids, metric).sum().backward()
    gradients = {
        site: torch.zeros_like(activation) if activation.grad is None else activation.grad
        for site, activation in seen.items()
    }
    return {site: activation.detach()[0] for site, activation in seen.items()}, {
        site: gradient[0] for site, gradient in gradients.items()
    }


def _keep_with_gradient(seen: dict[Site, Tensor], site: Site, activation: Tensor) -> Tensor:
    """Keep an activation whose gradient is wanted; what goes on is a copy, since a block may add to it in place."""
    activation.retain_grad()
    seen[site] = activation
    return activation.clone()
