"""Exact activation patching of sites, heads and neurons.

    from an_neuron import LogitDifference, patch_neurons, patch_sites

    maps = patch_sites(bridge, prompt_pairs, LogitDifference(answer, foil))
    maps["resid_pre"].patched  # [prompt_pair, layer, pos]
    neurons = patch_neurons(bridge, prompt_pairs, LogitDifference(answer, foil), layers=[31])
    neurons.patched  # [prompt_pair, layer, d_mlp]

Every function takes a TransformerLens bridge, or an `Engine` made of one, which may be used again. The result is that
of one ordinary forward per patch, to rounding; `wavefront` shows how one pass finds it. Each sweep proves it: both
prompts and some patches are measured again by ordinary forwards, and where one differs, the sweep stops
(`spot_checks`). Sites mean TransformerLens' hooks (`model.places`). The values are float32 whatever the model's
precision; what rounding does to them is the sweep's `rounding`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.model.places import HEAD_SITES as KNOWN_HEAD_SITES
from an_neuron.patching.arguments import (
    checked_layers,
    checked_neurons,
    checked_prompt_pairs,
    checked_sites,
    engine_of,
    number_of,
)
from an_neuron.patching.changed_products import check_precision
from an_neuron.patching.engine import Engine
from an_neuron.patching.interventions import OTHER_RUN, OtherRun
from an_neuron.patching.metric import Metric, layers_before
from an_neuron.patching.plan import Plan, run
from an_neuron.patching.remeasuring import neurons_to_measure, with_exact
from an_neuron.patching.runs import Site
from an_neuron.patching.sweep import Sweep
from an_neuron.prompts.pairs import PromptPair

SITES = ("resid_pre", "attn_out", "mlp_out")
HEAD_SITES = ("z", "v", "pattern")
KNOWN_SITES = ("resid_pre", "resid_mid", "attn_out", "mlp_out")


def patch_sites(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sites: Sequence[str] = SITES,
    *,
    noising: bool = False,
    put: OtherRun = OTHER_RUN,
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
        What is measured, `LogitDifference(answer, foil)` as a rule; or, inside the model, `NeuronActivation`,
        `HeadOutput` or `Stream`: then the layers are those that come before it.
    sites
        Some of resid_pre, resid_mid, attn_out and mlp_out.
    noising
        Put corrupted activations into the clean run, instead of clean ones into the corrupted run.
    put
        What is put in instead, at all positions: `Zero()`, `Negative()`, a `Mean`, … (`interventions`).
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
        If an argument is wrong, the architecture cannot be patched exactly or has no such site, clean and corrupted
        prompt measure the same to rounding, or a spot check fails.
    """
    engine = engine_of(model)
    prompt_pairs = checked_prompt_pairs(engine, prompt_pairs, tokens_per_wave)
    sites = checked_sites(engine, sites, KNOWN_SITES)
    return _patch(engine, prompt_pairs, metric, sites, [], noising, put, tokens_per_wave)


def patch_heads(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sites: Sequence[str] = HEAD_SITES,
    *,
    noising: bool = False,
    put: OtherRun = OTHER_RUN,
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
    engine = engine_of(model)
    prompt_pairs = checked_prompt_pairs(engine, prompt_pairs, tokens_per_wave)
    sites = checked_sites(engine, sites, KNOWN_HEAD_SITES)
    return _patch(engine, prompt_pairs, metric, [], sites, noising, put, tokens_per_wave)


def patch_sites_and_heads(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sites: Sequence[str] = SITES,
    head_sites: Sequence[str] = HEAD_SITES,
    *,
    noising: bool = False,
    put: OtherRun = OTHER_RUN,
    tokens_per_wave: int | None = None,
) -> dict[str, Sweep]:
    """Patch sites at each layer and position, and heads at all positions at once, in one call.

    It is what `patch_sites` and `patch_heads` do, but each prompt pair's runs are recorded once, and waves are fuller:
    the way to take with many prompt pairs. Parameters are theirs, and `head_sites` are what `patch_heads` calls sites.

    Returns
    -------
    dict
        Of each site, and of each head site, what these return.
    """
    engine = engine_of(model)
    prompt_pairs = checked_prompt_pairs(engine, prompt_pairs, tokens_per_wave)
    sites = checked_sites(engine, sites, KNOWN_SITES)
    head_sites = checked_sites(engine, head_sites, KNOWN_HEAD_SITES)
    return _patch(engine, prompt_pairs, metric, sites, head_sites, noising, put, tokens_per_wave)


def patch_neurons(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    layers: Sequence[int] | None = None,
    *,
    per_position: bool = False,
    noising: bool = False,
    put: OtherRun = OTHER_RUN,
    tokens_per_wave: int | None = None,
    precision: str = "highest",
) -> Sweep:
    """Patch each neuron of some layers.

    Parameters
    ----------
    layers
        Which layers; all if None.
    per_position
        Patch a neuron at one position at a time, instead of at all positions at once.
    precision
        In which waves multiply what patches change: "highest" (float32), "high" (TF32 on a GPU) or "bfloat16". The
        1,000 largest neurons, and 500 drawn by chance, are then measured again in float32 (the sweep's `again`).

    The other parameters are those of `patch_sites`.

    Returns
    -------
    Sweep
        `patched` is [prompt_pair, layer, d_mlp], or [prompt_pair, layer, d_mlp, pos].
    """
    engine = engine_of(model)
    prompt_pairs = checked_prompt_pairs(engine, prompt_pairs, tokens_per_wave)
    layers = checked_layers(engine, metric, layers)
    d_mlp = number_of(engine, "post", layers)
    sites = [(layer, "post") for layer in layers]
    check_precision(precision, engine.ordinary.dtype)
    if per_position and precision != "highest":
        raise UserError("Neurons at one position at a time are patched in float32; take precision highest.")
    plan = Plan(sites, {"post": d_mlp}, per_position, noising, tokens_per_wave, put=put, precision=precision)
    longest = max(len(prompt_pair.clean) for prompt_pair in prompt_pairs)
    positions = [("position", range(-longest, 0))] if per_position else []
    sweep = _over_layers(run(engine, prompt_pairs, metric, plan), sites, ("neuron", range(d_mlp)), *positions)
    if sweep.precision == "highest":
        return sweep
    chosen, drawn = neurons_to_measure(sweep)
    exact = patch_listed_neurons(
        engine, prompt_pairs, metric, chosen, noising=noising, put=put, tokens_per_wave=tokens_per_wave
    )
    return with_exact(sweep, exact, chosen, drawn)


def patch_listed_neurons(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    neurons: Sequence[tuple[int, int]],
    *,
    noising: bool = False,
    put: OtherRun = OTHER_RUN,
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
    engine = engine_of(model)
    prompt_pairs = checked_prompt_pairs(engine, prompt_pairs, tokens_per_wave)
    listed = checked_neurons(engine, neurons)
    widths = {site: engine.ordinary.n_items(*site) or 0 for site in listed}
    plan = Plan(sorted(listed), {"post": max(widths.values())}, False, noising, tokens_per_wave, listed, put=put)
    swept = run(engine, prompt_pairs, metric, plan)
    columns = [swept[layer, "post"].patched[:, listed[layer, "post"].index(index)] for layer, index in neurons]
    axes = (("neuron", [f"{layer}.{index}" for layer, index in neurons]),)
    return replace(next(iter(swept.values())), patched=torch.stack(columns, dim=1), axes=axes)


def _patch(
    engine: Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sites: Sequence[str],
    head_sites: Sequence[str],
    noising: bool,
    put: OtherRun,
    tokens_per_wave: int | None,
) -> dict[str, Sweep]:
    """Patch sites by position, and heads, in all layers; return a sweep over the layers of each."""
    n_heads = {site: number_of(engine, site, range(engine.n_layers)) for site in head_sites}
    places = {site: _everywhere(engine, metric, [site]) for site in (*sites, *head_sites)}
    listed = _some([place for each in places.values() for place in each])
    swept = run(engine, prompt_pairs, metric, Plan(listed, n_heads, False, noising, tokens_per_wave, put=put))
    positions = "position", range(-max(len(prompt_pair.clean) for prompt_pair in prompt_pairs), 0)
    along = {site: ("head", range(n_heads[site])) if site in n_heads else positions for site in places}
    return {site: _over_layers(swept, places[site], along[site]) for site in places}


def _everywhere(engine: Engine, metric: Metric, sites: Sequence[str]) -> list[Site]:
    """Return sites in all layers in which a patch can change the metric."""
    return [(layer, site) for site in sites for layer in range(layers_before(metric, site, engine.n_layers))]


def _some(sites: list[Site]) -> list[Site]:
    if not sites:
        raise UserError("No layer's patches come before what is measured.")
    return sites


def _over_layers(swept: Mapping[Site, Sweep], sites: Sequence[Site], *axes: tuple[str, Sequence[int | str]]) -> Sweep:
    """Put sweeps of one site together, [prompt_pair, layer, ...]."""
    sweeps, layers = [swept[site] for site in sites], [layer for layer, _ in sites]
    first, named = next(iter(swept.values())), (("layer", layers), *axes)
    nothing = torch.empty(len(first.clean), *(len(along) for _, along in named))
    patched = torch.stack([sweep.patched for sweep in sweeps], dim=1) if sweeps else nothing
    return replace(sweeps[0] if sweeps else first, patched=patched, axes=named)
