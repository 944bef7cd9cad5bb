"""Exact activation patching of sites, heads and neurons.

    from an_neuron import LogitDifference, patch_neurons, patch_sites

    maps = patch_sites(bridge, prompt_pairs, LogitDifference(answer, foil))
    maps["resid_pre"].patched  # [prompt_pair, layer, pos]
    neurons = patch_neurons(bridge, prompt_pairs, LogitDifference(answer, foil), layers=[31])
    neurons.patched  # [prompt_pair, layer, d_mlp]

Every function takes a TransformerLens bridge, or an `Engine` made of one, which may be used again. The result is that
of one forward pass per patch with TransformerLens' hooks, to float32 rounding; `wavefront` shows how one pass finds it.
A run measures its own controls: nothing patched must give the base run, everything patched the source run, else it
stops.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.patching.engine import Engine, Metric
from an_neuron.patching.plan import Plan, run
from an_neuron.patching.runs import Place
from an_neuron.patching.sweep import Sweep
from an_neuron.prompts.pairs import PromptPair

SITES = ("resid_pre", "attn_out", "mlp_out")
HEAD_SITES = ("z", "v", "pattern")


def patch_sites(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sites: Sequence[str] = SITES,
    *,
    noising: bool = False,
    tokens_per_wave: int | None = None,
) -> dict[str, Sweep]:
    """Patch sites at each layer and position.

    Parameters
    ----------
    model
        A bridge, or an engine made of one.
    prompt_pairs
        Token ids of the prompts, of any lengths; a prompt pair's two prompts have the same length.
    metric
        What is measured, `LogitDifference(answer, foil)` as a rule.
    sites
        Some of resid_pre, resid_mid, attn_out and mlp_out.
    noising
        Put corrupted activations into the clean run, instead of clean ones into the corrupted run.
    tokens_per_wave
        At most so many token positions run at once; chosen by memory if None.

    Returns
    -------
    dict
        For each site a sweep whose `patched` is [prompt_pair, layer, pos], aligned at the prompts' last position.
        Positions before the first difference of a prompt pair have recovery exactly 0 (1 with noising).

    Raises
    ------
    UserError
        If the architecture cannot be treated exactly or has no such site, or a control fails.
    """
    engine = _engine(model)
    _check_sites(sites, [site for site in ("resid_pre", *engine.where) if site not in ("post", "z")])
    plan = Plan(_everywhere(engine, sites), {}, True, noising, tokens_per_wave)
    return _by_site(run(engine, prompt_pairs, metric, plan), engine, sites)


def patch_heads(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sites: Sequence[str] = HEAD_SITES,
    *,
    noising: bool = False,
    tokens_per_wave: int | None = None,
) -> dict[str, Sweep]:
    """Patch attention heads, each at all positions at once.

    Parameters are those of `patch_sites`, but sites are some of z, q, k, v and pattern.

    Returns
    -------
    dict
        For each site a sweep whose `patched` is [prompt_pair, layer, head]; with grouped queries k and v have fewer
        heads.
    """
    engine = _engine(model)
    _check_sites(sites, list(engine.n_heads))
    plan = Plan(_everywhere(engine, sites), engine.n_heads, False, noising, tokens_per_wave)
    return _by_site(run(engine, prompt_pairs, metric, plan), engine, sites)


def patch_neurons(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    layers: Sequence[int] | None = None,
    *,
    per_position: bool = False,
    noising: bool = False,
    tokens_per_wave: int | None = None,
) -> Sweep:
    """Patch each neuron of some layers.

    Parameters
    ----------
    layers
        Which layers; all if None.
    per_position
        Patch a neuron at one position at a time, instead of at all positions at once.

    The other parameters are those of `patch_sites`.

    Returns
    -------
    Sweep
        `patched` is [prompt_pair, layer, d_mlp], or [prompt_pair, layer, d_mlp, pos].
    """
    engine = _engine(model)
    layers = range(engine.n_layers) if layers is None else layers
    if wrong := [layer for layer in layers if not 0 <= layer < engine.n_layers]:
        raise UserError(f"There is no layer {wrong[0]}; this model has layers 0 to {engine.n_layers - 1}.")
    places = [(layer, "post") for layer in layers]
    plan = Plan(places, {"post": engine.d_mlp}, per_position, noising, tokens_per_wave)
    return _over_layers(run(engine, prompt_pairs, metric, plan), places)


def patch_listed_neurons(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    neurons: Sequence[tuple[int, int]],
    *,
    noising: bool = False,
    tokens_per_wave: int | None = None,
) -> Sweep:
    """Patch some neurons, each at all positions at once.

    Parameters
    ----------
    neurons
        Layer and index of each, every neuron once.

    The other parameters are those of `patch_sites`.

    Returns
    -------
    Sweep
        `patched` is [prompt_pair, neuron], in the order of the neurons.
    """
    engine = _engine(model)
    listed: dict[Place, list[int]] = {}
    for layer, index in neurons:
        if not (0 <= layer < engine.n_layers and 0 <= index < engine.d_mlp):
            raise UserError(
                f"There is no neuron {layer}.{index}; this model has {engine.n_layers} layers of {engine.d_mlp} each."
            )
        listed.setdefault((layer, "post"), []).append(index)
    plan = Plan(sorted(listed), {"post": engine.d_mlp}, False, noising, tokens_per_wave, listed)
    swept = run(engine, prompt_pairs, metric, plan)
    columns = [swept[layer, "post"].patched[:, listed[layer, "post"].index(index)] for layer, index in neurons]
    return replace(next(iter(swept.values())), patched=torch.stack(columns, dim=1))


def _engine(model: TransformerBridge | Engine) -> Engine:
    return model if isinstance(model, Engine) else Engine(model)


def _check_sites(sites: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [site for site in sites if site not in known]:
        raise UserError(f"This model has no site {unknown[0]!r} to patch; known sites: {', '.join(known)}.")


def _everywhere(engine: Engine, sites: Sequence[str]) -> list[Place]:
    return [(layer, site) for site in sites for layer in range(engine.n_layers)]


def _by_site(swept: Mapping[Place, Sweep], engine: Engine, sites: Sequence[str]) -> dict[str, Sweep]:
    """Return the sweep of each site, over all layers."""
    return {site: _over_layers(swept, _everywhere(engine, [site])) for site in sites}


def _over_layers(swept: Mapping[Place, Sweep], places: Iterable[Place]) -> Sweep:
    """Put sweeps of one site together, [prompt_pair, layer, ...]."""
    sweeps = [swept[place] for place in places]
    return replace(sweeps[0], patched=torch.stack([sweep.patched for sweep in sweeps], dim=1))
