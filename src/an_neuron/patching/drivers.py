"""What drives a neuron: sweeps that measure its activation, instead of the logits."""

import logging
from collections.abc import Sequence

import torch

from an_neuron.errors import NothingToRecoverError
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import NeuronActivation
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweeps import patch_heads, patch_sites
from an_neuron.prompts.pairs import PromptPair

log = logging.getLogger(__name__)


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
        swept = patch_sites(engine, prompt_pairs, neuron, sites), patch_heads(engine, prompt_pairs, neuron, head_sites)
    except NothingToRecoverError as error:
        log.warning("Nothing drives the neuron here. %s", error)
        return _nothing(engine, prompt_pairs, neuron, sites, head_sites)
    of_sites, of_heads = ({site: one.in_layers(engine.n_layers) for site, one in each.items()} for each in swept)
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
