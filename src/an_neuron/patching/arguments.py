"""What the sweeps are given, checked before anything runs: each mistake is a sentence."""

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import Metric, layers_before
from an_neuron.patching.runs import Site
from an_neuron.prompts.pairs import PromptPair, first_difference


def engine_of(model: TransformerBridge | Engine) -> Engine:
    """Return a model as an engine."""
    return model if isinstance(model, Engine) else Engine(model)


def number_of(engine: Engine, site: str, layers: Sequence[int]) -> int:
    """Return how many heads or neurons a site has in each of some layers."""
    numbers = {layer: engine.ordinary.n_items(layer, site) or 0 for layer in layers}
    if len({*numbers.values()}) > 1:
        least, most = (some(numbers, key=lambda layer: numbers[layer]) for some in (min, max))
        raise UserError(
            f"Layers {least} and {most} have {numbers[least]} and {numbers[most]} of {site}; sweep them one by one."
        )
    return numbers[layers[0]]


def checked_prompt_pairs(
    engine: Engine, prompt_pairs: Sequence[PromptPair], tokens_per_wave: int | None
) -> list[PromptPair]:
    """Return the prompt pairs as a list, if all of them can be patched."""
    if isinstance(prompt_pairs, PromptPair):
        raise UserError("Prompt pairs are a list; for a single one give [prompt_pair].")
    pairs = list(prompt_pairs)
    if not pairs:
        raise UserError("There is no prompt pair to patch.")
    for pair in pairs:
        if not isinstance(pair, PromptPair):
            raise UserError(f"A prompt pair is a PromptPair(clean, corrupted) of token ids, not {pair!r}.")
        for ids in (pair.clean, pair.corrupted):
            engine.check_ids(ids)
        first_difference(pair.corrupted, pair.clean)
    if tokens_per_wave is not None and tokens_per_wave < 1:
        raise UserError(f"tokens_per_wave must be at least 1, not {tokens_per_wave}.")
    return pairs


def checked_sites(engine: Engine, sites: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the sites as a list, if every layer has each of them."""
    if isinstance(sites, str):
        raise UserError(f"Sites are a list; for a single one give [{sites!r}].")
    sites = list(sites)
    if not sites:
        raise UserError(f"There is no site to patch; known sites: {', '.join(known)}.")
    here = [site for site in known if site == "resid_pre" or engine.ordinary.has_everywhere(site)]
    if unknown := [site for site in sites if site not in here]:
        raise UserError(
            f"This model has no site {unknown[0]!r} to patch in every layer; it has {', '.join(here) or 'none'}."
        )
    return sites


def checked_layers(engine: Engine, metric: Metric, layers: Iterable[int] | None) -> list[int]:
    """Return the layers as a list, all that come before what is measured for None."""
    if isinstance(layers, Integral):
        raise UserError(f"Layers are a list; for a single one give [{layers}].")
    before = layers_before(metric, "post", engine.n_layers)
    chosen = list(range(before) if layers is None else layers)
    if not chosen:
        raise UserError("There is no layer to patch; give some, or None for all.")
    for layer in chosen:
        _check_layer(layer, engine.n_layers)
        if layer >= before:
            raise UserError(f"Neurons of layer {layer} come after what is measured; patch layers below {before}.")
    if len({*chosen}) < len(chosen):
        raise UserError(f"Layers are given twice in {chosen}.")
    return [int(layer) for layer in chosen]


def checked_neurons(engine: Engine, neurons: Sequence[tuple[int, int]]) -> dict[Site, list[int]]:
    """Return the neurons of each layer."""
    listed: dict[Site, list[int]] = {}
    for layer, index in _pairs(neurons):
        known = isinstance(layer, Integral) and 0 <= layer < engine.n_layers
        d_mlp = engine.ordinary.n_items(layer if known else 0, "post") or 0
        if not (known and isinstance(index, Integral) and 0 <= index < d_mlp):
            raise UserError(
                f"There is no neuron {layer}.{index}; this model has {engine.n_layers} layers of {d_mlp} each."
            )
        if index in listed.setdefault((layer, "post"), []):
            raise UserError(f"Neuron {layer}.{index} is given twice.")
        listed[layer, "post"].append(index)
    if not listed:
        raise UserError("There is no neuron to patch.")
    return listed


def _pairs(neurons: Sequence[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    for neuron in neurons:
        if not isinstance(neuron, tuple) or len(neuron) != 2:
            raise UserError(f"A neuron is a pair (layer, index), not {neuron!r}.")
    return neurons


def _check_layer(layer: Any, n_layers: int) -> None:
    if not isinstance(layer, Integral) or not 0 <= int(layer) < n_layers:
        raise UserError(f"There is no layer {layer!r}; this model has layers 0 to {n_layers - 1}.")
