"""Integrated gradients of a patch: attribution patching with the gradient's mean along a way, not the one at its start.

Two ways lead from the corrupted run to the clean one. `integrate_inputs` goes in a straight line between what enters
the first block (the embeddings) in both: EAP-IG's way for edges (Hanna, Pezzelle, Belinkov 2024, "Have Faith in
Faithfulness", arXiv:2403.17806), taken for nodes. `integrate_activations` goes in a straight line between the
activations of one site, everything before it being as in the corrupted run, site by site (Marks et al. 2024, "Sparse
Feature Circuits", arXiv:2403.19647). Both take gradients in the middle of each of some equal steps, where the papers
take them at the steps' ends, one of both ends left out: the middle's error falls with the square of their number.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.patching.attribution import Change, aligned, gradients
from an_neuron.patching.metric import Metric
from an_neuron.patching.ordinary_model import OrdinaryModel
from an_neuron.patching.runs import Site
from an_neuron.prompts.pairs import PromptPair

POINTS = 5
START = (0, "resid_pre")


def integrate_inputs(
    model: OrdinaryModel,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sites: Sequence[Site],
    points: int = POINTS,
) -> dict[Site, Tensor]:
    """Estimate patches by the mean gradient at points between the corrupted and the clean prompt's embeddings.

    Of what enters the first block itself, the sum of the estimates is what the metric differs by, but for the steps.

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
    points
        How many points; they run at once, as a batch.

    Returns
    -------
    dict
        For each site (clean - corrupted activation) * mean gradient, [prompt_pair, pos, column], aligned at the
        prompts' last position, 0 where a shorter prompt has none.

    Raises
    ------
    UserError
        If there is no point.
    """
    shares = _middles(points)
    effects = []
    for pair in prompt_pairs:
        base, source = (model.activations(ids, {*sites, START}) for ids in (pair.corrupted, pair.clean))
        way = _between(base[START], source[START], shares)
        _, slopes = gradients(model, pair.corrupted, metric, sites, points, before=[_put(START, way)])
        effects.append({site: (source[site] - base[site]) * slopes[site].mean(0) for site in sites})
    return aligned(prompt_pairs, effects)


def integrate_activations(
    model: OrdinaryModel,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sites: Sequence[Site],
    points: int = POINTS,
) -> dict[Site, Tensor]:
    """Estimate patches by the mean gradient at points between the corrupted and the clean run's activations.

    One site is changed at a time, all of its columns and positions together; the sum of its estimates is what patching
    the whole site changes, but for the steps. It takes a batch of so many points for each site.

    Parameters, returned values and errors are those of `integrate_inputs`.
    """
    shares = _middles(points)
    effects = []
    for pair in prompt_pairs:
        base, source = (model.activations(ids, sites) for ids in (pair.corrupted, pair.clean))
        found = {}
        for site in sites:
            way = _between(base[site], source[site], shares).requires_grad_()
            _, slopes = gradients(model, pair.corrupted, metric, [site], points, before=[_put(site, way)])
            found[site] = (source[site] - base[site]) * slopes[site].mean(0)
        effects.append(found)
    return aligned(prompt_pairs, effects)


def _middles(points: int) -> Tensor:
    """Return the middles of so many equal steps from 0 to 1."""
    if points < 1:
        raise UserError(f"Integrated gradients need at least 1 point, not {points}.")
    return (torch.arange(points) + 0.5) / points


def _between(base: Tensor, source: Tensor, shares: Tensor) -> Tensor:
    """Return what lies at some shares of the way from one activation to the other, [share, ...]."""
    return base + shares.to(base).view(-1, *[1] * base.ndim) * (source - base)


def _put(site: Site, way: Tensor) -> Change:
    """Return what puts activations, [row, ...], in a site's place."""
    return *site, lambda _: way
