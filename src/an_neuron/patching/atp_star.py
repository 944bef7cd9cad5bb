"""AtP*: attribution patching with two repairs (Kramár, Lieberum, Shah, Nanda 2024, arXiv:2403.00745).

Query-key fix: where attention is saturated, the softmax's gradient says that a query or a key does nothing. Instead the
pattern is computed with the other run's queries (or keys), and its change is taken times the gradient at the pattern.
That of all heads and layers takes one forward of three rows: as it is, with other queries, with other keys; behind the
attention each row goes on as the first.

GradDrop: a direct effect and one by way of a later layer may cancel in the gradient where they do not in truth. So one
gradient is taken for each layer, with what passes through that layer's attention and MLP left out, and the mean size of
these estimates counts. It has no sign. For neurons, values and z this is all that AtP* changes.

A node is a neuron or a head at all positions here, as in the sweeps, not at one, as in the paper; effects are summed
over positions before their size is taken. The query-key fix takes every query of a head for the other run's at once,
and those of all heads, whose patterns are apart; where a norm mixes their queries (OLMo 2) that is one more
approximation.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.patching.attribution import Change, gradients, of_items
from an_neuron.patching.metric import Metric
from an_neuron.patching.ordinary_model import OrdinaryModel
from an_neuron.patching.runs import Site
from an_neuron.prompts.pairs import PromptPair

FIXED = ("q", "k")
"""What the query-key fix is for, in the order of the rows behind the first."""
OUTPUTS = ("attn_out", "mlp_out")


def attribute_star(
    model: OrdinaryModel,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sites: Sequence[Site],
    *,
    drop: bool = True,
) -> dict[Site, Tensor]:
    """Estimate by how much the metric changes with each neuron or head patched, all positions at once (denoising).

    Parameters
    ----------
    model
        The model, an engine's `ordinary`.
    prompt_pairs
        Token ids of the prompts.
    metric
        What is measured, of the logits or inside the model.
    sites
        Layers and sites: post, z, v, q or k.
    drop
        Whether GradDrop is done. Without it the estimates have a sign, and those of post, z and v are attribution's.

    Returns
    -------
    dict
        For each site [prompt_pair, item], items being neurons or heads.

    Raises
    ------
    UserError
        If the model has a single layer, so that GradDrop leaves nothing, or no such site.
    """
    if drop and model.n_layers < 2:
        raise UserError("GradDrop leaves out one layer at a time, so it needs two; this model has one. Use drop=False.")
    effects = [_effects(model, pair, metric, sites, drop) for pair in prompt_pairs]
    return {site: torch.stack([each[site] for each in effects]) for site in sites}


def _effects(
    model: OrdinaryModel, pair: PromptPair, metric: Metric, sites: Sequence[Site], drop: bool
) -> dict[Site, Tensor]:
    """Return a prompt pair's effects, [item]."""
    rows, dropped = (model.n_layers, _drops(model)) if drop else (1, [])
    seen = sorted({(layer, "pattern" if site in FIXED else site) for layer, site in sites})
    base, slopes = gradients(model, pair.corrupted, metric, seen, rows, after=dropped)
    source = model.activations(pair.clean, sites)
    patterns = changed_patterns(model, pair.corrupted, source)
    effects = {}
    for layer, site in sites:
        if site in FIXED:
            by_row = (patterns[layer, site] * slopes[layer, "pattern"]).sum((-1, -2))
            by_row = by_row.unflatten(-1, (model.n_items(layer, site) or 1, -1)).sum(-1)  # queries that share a key
        else:
            change = source[layer, site] - base[layer, site][0]
            by_row = of_items(model, (layer, site), change * slopes[layer, site])
        effect = by_row.abs().sum(0) / (rows - 1) if drop else by_row[0]
        effects[layer, site] = effect.float().cpu()
    return effects


def _drops(model: OrdinaryModel) -> list[Change]:
    """Return what keeps gradients from passing through the attention and the MLP of each layer, in its own row."""

    def without(row: int, activation: Tensor) -> Tensor:
        own = (torch.arange(len(activation), device=activation.device) == row).view(-1, *[1] * (activation.ndim - 1))
        return torch.where(own, activation.detach(), activation)

    return [(layer, site, partial(without, layer)) for layer in range(model.n_layers) for site in OUTPUTS]


@torch.inference_mode()
def changed_patterns(model: OrdinaryModel, ids: Sequence[int], source: dict[Site, Tensor]) -> dict[Site, Tensor]:
    """Return by how much each layer's pattern changes with other queries or keys there, and nowhere else.

    Parameters
    ----------
    model
        The model.
    ids
        Token ids of the prompt.
    source
        The other queries and keys, [pos, column], by layer and site; other sites are ignored.

    Returns
    -------
    dict
        For each of these layers and sites [head, pos, key].
    """
    seen: dict[int, Tensor] = {}
    asked = [site for site in source if site[1] in FIXED]
    with ExitStack() as stack:
        for layer, site in asked:
            row, columns = 1 + FIXED.index(site), model.place(layer, site).columns
            put = partial(_put_columns, row, columns, source[layer, site])
            stack.enter_context(model.at(layer, site, put, 3))
        for layer in sorted({layer for layer, _ in asked}):
            stack.enter_context(model.at(layer, "pattern", partial(_keep, seen, layer), 3))
            stack.enter_context(model.at(layer, "z", lambda z: z[:1].expand_as(z).contiguous(), 3))
        if asked:
            model.model(torch.tensor([list(ids)] * 3, device=model.device), use_cache=False)
    return {(layer, site): seen[layer][1 + FIXED.index(site)] - seen[layer][0] for layer, site in asked}


def _put_columns(row: int, columns: Tensor | None, values: Tensor, activation: Tensor) -> Tensor:
    """Put one row's columns, those of all heads: queries and keys may be parts of one activation."""
    changed, chosen = activation.clone(), slice(None) if columns is None else columns.flatten()
    changed[row][:, chosen] = values[:, chosen]
    return changed


def _keep(seen: dict[int, Tensor], layer: int, pattern: Tensor) -> None:
    seen[layer] = pattern.clone()
