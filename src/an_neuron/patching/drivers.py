"""What drives a neuron: sweeps that measure its activation, instead of the logits.

Sites and heads are all patched. The neurons below are too many for what is a question beside the study's own, so that
attribution ranks them, and the first ones are measured exactly.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from an_neuron.errors import NothingToRecoverError
from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.again import RECOVERY
from an_neuron.patching.attribution import attribute
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import NeuronActivation
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweep_files import ACTIVATION
from an_neuron.patching.sweeps import patch_listed_neurons, patch_sites_and_heads
from an_neuron.prompts.pairs import PromptPair

log = logging.getLogger(__name__)
MEASURED = 300
"""So many neurons below, those of the largest estimated effect, are measured exactly."""
DRIVING_NEURONS = Schema(
    "drivers/neurons.h5",
    "recovery of the studied neuron's activation with each of some neurons below patched at all positions: those "
    "of the largest effect by attribution",
    {
        "layer": Field("neuron", "int32", "", "the neurons' layers, the largest recovery first"),
        "index": Field("neuron", "int32", "", "their numbers in the layer"),
        "recovery": Field("neuron", "float32", RECOVERY, "exact recovery of the prompt pairs' mean activation"),
        "estimate": Field("neuron", "float32", RECOVERY, "attribution's estimate of it"),
    },
    {
        **ACTIVATION.said,
        "neurons_below": "how many neurons come before the studied one, and were ranked",
        "largest_estimate_left_out": "the largest absolute estimate of a neuron that was not measured",
        "spot_checks": "how many values were measured again by ordinary forwards",
        "rounding": "the largest difference of one of them, in units of the activation",
    },
)


@dataclass(frozen=True)
class DrivingNeurons:
    """Neurons below a neuron, and how much of its activation each recovers alone, the largest first.

    Attributes
    ----------
    neurons
        Layer and index of each.
    recovery, estimate
        Exact, and by attribution, [neuron].
    below
        How many neurons were ranked.
    left_out
        The largest absolute estimate of one that was not measured; 0 where all were.
    sweep
        The exact sweep; None where nothing drives the neuron.
    """

    neurons: list[tuple[int, int]]
    recovery: Tensor
    estimate: Tensor
    below: int
    left_out: float
    sweep: Sweep | None


def drive_by_neurons(
    engine: Engine, prompt_pairs: Sequence[PromptPair], neuron: NeuronActivation, measured: int = MEASURED
) -> DrivingNeurons:
    """Rank all neurons below by attribution, and patch the first ones, so many; measure a neuron's activation."""
    sites = [(layer, "post") for layer in range(neuron.layer)]
    clean, corrupted = (
        torch.cat([engine.ordinary.run(ids, neuron) for ids in prompts]).mean().cpu()
        for prompts in ([pair.clean for pair in prompt_pairs], [pair.corrupted for pair in prompt_pairs])
    )
    effects = attribute(engine.ordinary, prompt_pairs, neuron, sites) if sites else {}
    estimates = {
        (layer, index): value / float(clean - corrupted)
        for (layer, _), effect in effects.items()
        for index, value in enumerate(effect.sum(1).mean(0).tolist())
    }
    ranked = sorted(estimates, key=lambda each: -abs(estimates[each]))
    left_out = abs(estimates[ranked[measured]]) if len(ranked) > measured else 0.0
    try:
        sweep = patch_listed_neurons(engine, prompt_pairs, neuron, ranked[:measured]) if ranked else None
    except NothingToRecoverError as error:
        log.warning("Nothing drives the neuron here. %s", error)
        sweep = None
    if sweep is None:
        return DrivingNeurons([], torch.empty(0), torch.empty(0), len(ranked), 0.0, None)
    order = sweep.recovery.argsort(descending=True).tolist()
    neurons = [ranked[number] for number in order]
    estimate = torch.tensor([estimates[each] for each in neurons])
    return DrivingNeurons(neurons, sweep.recovery[order], estimate, len(ranked), left_out, sweep)


def write_driving_neurons(path: Path, driving: DrivingNeurons, attributes: Mapping[str, Any]) -> None:
    """Write drivers/neurons.h5; the attributes name the neuron, besides those of every file."""
    values = {
        "layer": [layer for layer, _ in driving.neurons],
        "index": [index for _, index in driving.neurons],
        "recovery": driving.recovery,
        "estimate": driving.estimate,
    }
    said = {
        "neurons_below": driving.below,
        "largest_estimate_left_out": driving.left_out,
        "spot_checks": len(driving.sweep.checks) if driving.sweep else 0,
        "rounding": driving.sweep.rounding if driving.sweep else float("nan"),
    }
    hdf5.write(path, DRIVING_NEURONS, values, {**attributes, **said})


def drive(
    engine: Engine,
    prompt_pairs: Sequence[PromptPair],
    neuron: NeuronActivation,
    sites: Sequence[str],
    head_sites: Sequence[str],
) -> tuple[dict[str, Sweep], dict[str, Sweep]]:
    """Patch sites and heads, and measure a neuron's activation.

    Parameters
    ----------
    engine
        The model.
    prompt_pairs
        Token ids of the prompts.
    neuron
        The neuron.
    sites, head_sites
        What is patched.

    Returns
    -------
    tuple
        Of each site [prompt_pair, layer, pos], and of each head site [prompt_pair, layer, head], over all layers: later
        ones change nothing. Where the activation is the same in the prompts of a pair, all of it is NaN.
    """
    try:
        swept = patch_sites_and_heads(engine, prompt_pairs, neuron, sites, head_sites)
    except NothingToRecoverError as error:
        log.warning("Nothing drives the neuron here. %s", error)
        return _nothing(engine, prompt_pairs, neuron, sites, head_sites)
    of_sites, of_heads = (
        {site: swept[site].in_layers(engine.n_layers) for site in each} for each in (sites, head_sites)
    )
    return of_sites, of_heads


def _nothing(
    engine: Engine,
    prompt_pairs: Sequence[PromptPair],
    neuron: NeuronActivation,
    sites: Sequence[str],
    head_sites: Sequence[str],
) -> tuple[dict[str, Sweep], dict[str, Sweep]]:
    """Return sweeps without values, of a neuron that does not change."""
    clean = torch.cat([engine.ordinary.run(pair.clean, neuron) for pair in prompt_pairs]).cpu()
    corrupted = torch.cat([engine.ordinary.run(pair.corrupted, neuron) for pair in prompt_pairs]).cpu()
    longest = max(len(pair.clean) for pair in prompt_pairs)

    def empty(items: int) -> Sweep:
        return Sweep(clean, corrupted, torch.full((len(clean), engine.n_layers, items), torch.nan))

    return (
        {site: empty(longest) for site in sites},
        {site: empty(engine.ordinary.n_items(0, site) or 0) for site in head_sites},
    )
