"""Means of activations over some prompts, for ablations that put them in."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.patching.interventions import Mean, Site
from an_neuron.patching.ordinary_model import OrdinaryModel


@torch.inference_mode()
def mean_over(model: OrdinaryModel, prompts: Iterable[Sequence[int]], sites: Sequence[Site]) -> Mean:
    """Return the means of some sites over all positions of some prompts.

    Parameters
    ----------
    model
        The model, an engine's `ordinary`.
    prompts
        Token ids of each.
    sites
        Layers and sites; any but the pattern, whose size is the prompt's.
    """
    sums, positions = dict[Site, Tensor](), 0
    for ids in prompts:
        positions += len(ids)
        for site, activation in model.activations(ids, sites).items():
            sums[site] = sums.get(site, 0) + activation.double().sum(0)
    if not positions:
        raise UserError("There is no prompt to take a mean over.")
    return Mean({site: total / positions for site, total in sums.items()})
