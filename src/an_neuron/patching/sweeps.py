"""Exact activation patching of sites, heads and neurons.

    from an_neuron.patching.sweeps import LogitDifference, patch_neurons, patch_sites

    maps = patch_sites(bridge, prompt_pairs, LogitDifference(answer, foil))   # {"resid_pre": Sweep, …}, [prompt_pair, layer, pos]
    neurons = patch_neurons(bridge, prompt_pairs, LogitDifference(answer, foil), layers=[31])   # [prompt_pair, layer, d_mlp]

Every function takes a TransformerLens bridge, or an `Engine` made of one, which may be used again. The result is that
of one forward pass for each patch with TransformerLens' hooks, to float32 rounding; `wavefront` says how it is
found in one pass. A run measures its own controls: nothing patched must give the base run, everything patched the
source run, else it stops.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.patching.engine import Engine, LogitDifference, Metric
from an_neuron.patching.wavefront import Pass, Patches
from an_neuron.prompts.pairs import PromptPair

__all__ = ["Engine", "LogitDifference", "Metric", "Sweep", "patch_heads", "patch_neurons", "patch_sites", "recovery"]

SITES = ("resid_pre", "attn_out", "mlp_out")
HEAD_SITES = ("z", "v", "pattern")
CONTROL_TOLERANCE = 1e-4
"""How far a control may be off, as a share of the logit differences' size; float32 rounding is a tenth of it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sweep:
    """The metric (a logit difference, as a rule) of prompt pairs.

    Attributes
    ----------
    clean, corrupted
        Of the prompts as they are, [prompt_pair].
    patched
        With each patch, [prompt_pair, ...]; NaN where a shorter prompt has no such position.
    nothing, everything
        Of the controls, [prompt_pair]: must be those of the base and of the source run.
    """

    clean: Tensor
    corrupted: Tensor
    patched: Tensor
    nothing: Tensor
    everything: Tensor

    @property
    def recovery_per_prompt_pair(self) -> Tensor:
        """Recovery of each prompt pair, [prompt_pair, ...]: 0 = as the corrupted prompt, 1 = as the clean one."""
        return recovery(self.patched, *(self._of_prompt_pairs(values) for values in (self.clean, self.corrupted)))

    @property
    def recovery(self) -> Tensor:
        """Recovery of the prompt pairs' mean metric, [...], over the prompt pairs that have the position."""
        there = self.patched.isfinite()
        means = [
            torch.where(there, values, torch.nan).nanmean(0)
            for values in (self.patched, self._of_prompt_pairs(self.clean), self._of_prompt_pairs(self.corrupted))
        ]
        return recovery(*means)

    @property
    def standard_error(self) -> Tensor:
        """Standard error of the recovery over the prompt pairs, [...]; NaN for a single prompt pair."""
        per_prompt_pair = self.recovery_per_prompt_pair
        number = per_prompt_pair.isfinite().sum(0)
        deviation = (per_prompt_pair - per_prompt_pair.nanmean(0)).square().nansum(0) / (number - 1)
        return (deviation / number).sqrt().where(number > 1, torch.nan)

    def of_layer(self, number: int) -> "Sweep":
        """Return the sweep of the layer with this number among those swept, without its layer axis."""
        return replace(self, patched=self.patched[:, number])

    def _of_prompt_pairs(self, values: Tensor) -> Tensor:
        return values.view(-1, *[1] * (self.patched.ndim - 1))


def recovery(patched: Tensor, clean: Tensor, corrupted: Tensor) -> Tensor:
    """Return (patched - corrupted) / (clean - corrupted).

    Raises
    ------
    UserError
        If clean and corrupted metric are the same, so that there is nothing to recover.
    """
    if bool((clean == corrupted).any()):
        raise UserError(
            "The clean and the corrupted prompt have the same logit difference, so there is nothing to recover; choose "
            "prompts, or an answer and a foil, between which the model changes its mind."
        )
    return (patched - corrupted) / (clean - corrupted)


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
        For each site a sweep whose `patched` is [prompt_pair, layer, pos], aligned at the prompts' last position. Positions
        before the first difference of a prompt pair have recovery exactly 0 (1 with noising).

    Raises
    ------
    UserError
        If the architecture cannot be treated exactly or has no such site, or a control fails.
    """
    engine = _engine(model)
    _known(sites, [site for site in ("resid_pre", *engine.where) if site not in ("post", "z")])
    longest = max(len(prompt_pair.clean) for prompt_pair in prompt_pairs)

    def patches(passed: Pass) -> list[Patches]:
        positions = torch.arange(passed.suffix, device=engine.device)
        return [Patches(layer, site, positions) for site in sites for layer in range(engine.n_layers)]

    def arranged(passed: Pass, values: list[Tensor]) -> Tensor:
        table = torch.full((len(sites), engine.n_layers, longest), torch.nan)
        table[..., longest - passed.suffix - passed.start :] = passed.base.value.cpu()
        table[..., longest - passed.suffix :] = torch.stack(values).view(len(sites), engine.n_layers, -1)
        return table

    keep = {(layer, site) for layer in range(engine.n_layers) for site in sites}
    whole = _sweep(engine, prompt_pairs, metric, keep, patches, arranged, noising, tokens_per_wave)
    return _by_site(whole, sites)


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
        For each site a sweep whose `patched` is [prompt_pair, layer, head]; with grouped queries k and v have fewer heads.
    """
    engine = _engine(model)
    _known(sites, list(engine.n_heads))

    def patches(passed: Pass) -> list[Patches]:
        heads = {site: torch.arange(engine.n_heads[site], device=engine.device) for site in sites}
        return [Patches(layer, site, heads[site]) for site in sites for layer in range(engine.n_layers)]

    def arranged(passed: Pass, values: list[Tensor]) -> Tensor:
        return torch.nn.utils.rnn.pad_sequence(values, batch_first=True, padding_value=torch.nan).view(
            len(sites), engine.n_layers, -1
        )

    keep = {(layer, site) for layer in range(engine.n_layers) for site in sites}
    whole = _sweep(engine, prompt_pairs, metric, keep, patches, arranged, noising, tokens_per_wave)
    swept = _by_site(whole, sites)
    return {site: replace(sweep, patched=sweep.patched[..., : engine.n_heads[site]]) for site, sweep in swept.items()}


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
    longest = max(len(prompt_pair.clean) for prompt_pair in prompt_pairs)

    def patches(passed: Pass) -> list[Patches]:
        neurons = torch.arange(engine.d_mlp, device=engine.device)
        if not per_position:
            return [Patches(layer, "post", neurons) for layer in layers]
        pos = torch.arange(passed.suffix, device=engine.device).repeat(engine.d_mlp)
        return [Patches(layer, "post", neurons.repeat_interleave(passed.suffix), pos) for layer in layers]

    def arranged(passed: Pass, values: list[Tensor]) -> Tensor:
        if not per_position:
            return torch.stack(values)
        table = torch.full((len(layers), engine.d_mlp, longest), torch.nan)
        table[..., longest - passed.suffix - passed.start :] = passed.base.value.cpu()
        table[..., longest - passed.suffix :] = torch.stack(values).view(len(layers), engine.d_mlp, -1)
        return table

    keep = {(layer, site) for layer in layers for site in ("post", "mlp_out")}
    return _sweep(engine, prompt_pairs, metric, keep, patches, arranged, noising, tokens_per_wave)


def _engine(model: TransformerBridge | Engine) -> Engine:
    return model if isinstance(model, Engine) else Engine(model)


def _known(sites: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [site for site in sites if site not in known]:
        raise UserError(f"This model has no site {unknown[0]!r} to patch; known sites: {', '.join(known)}.")


def _by_site(whole: Sweep, sites: Sequence[str]) -> dict[str, Sweep]:
    """Divide a sweep whose patched is [prompt_pair, site, layer, …]."""
    return {site: replace(whole, patched=whole.patched[:, number]) for number, site in enumerate(sites)}


def _sweep(
    engine: Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    keep: set[tuple[int, str]],
    patches: Callable[[Pass], list[Patches]],
    arranged: Callable[[Pass, list[Tensor]], Tensor],
    noising: bool,
    tokens_per_wave: int | None,
) -> Sweep:
    """Run each prompt pair's patches in waves; `arranged` makes a table of the values of one prompt pair's patches."""
    tables, ends = [], []
    for prompt_pair in prompt_pairs:
        base, source = (
            (prompt_pair.clean, prompt_pair.corrupted) if noising else (prompt_pair.corrupted, prompt_pair.clean)
        )
        passed = Pass(engine, base, source, metric, keep)
        rows = max(1, (tokens_per_wave or engine.tokens_per_wave(len(base))) // passed.suffix)
        controls = [
            Patches(0, name, torch.zeros(1, dtype=torch.long, device=engine.device))
            for name in ("nothing", "everything")
        ]
        nothing, everything, *values = _in_waves(passed, [*controls, *patches(passed)], rows)
        _check_controls(passed, nothing, everything)
        recovery(nothing, passed.source.value, passed.base.value)  # says so if there is nothing to recover
        tables.append(arranged(passed, [some.cpu() for some in values]))
        ends.append([passed.base.value, passed.source.value, nothing[0], everything[0]])
    base_value, source_value, nothing, everything = torch.tensor(ends).T
    clean, corrupted = (base_value, source_value) if noising else (source_value, base_value)
    return Sweep(clean, corrupted, torch.stack(tables), nothing, everything)


def _check_controls(passed: Pass, nothing: Tensor, everything: Tensor) -> None:
    """Stop where a row without a patch does not end as the base run, or one with all patches as the source run."""
    size = max(1.0, *(abs(float(run.value)) for run in (passed.base, passed.source)))
    for name, value, run in (("nothing", nothing, passed.base), ("everything", everything, passed.source)):
        if not abs(float(value - run.value)) <= CONTROL_TOLERANCE * size:
            raise UserError(
                f"Patching {name} gives {float(value):.6g} where {float(run.value):.6g} is right: this model cannot be "
                "patched exactly, so nothing is reported."
            )


def _in_waves(passed: Pass, patches: Sequence[Patches], rows: int) -> list[Tensor]:
    """Run patches in waves of at most so many rows; return the values of each of `patches`."""
    order = sorted(range(len(patches)), key=lambda number: patches[number].rank)
    changing = [passed.changing(some) for some in patches]
    left = [patches[number].of(changing[number]) for number in order]
    found = []
    with tqdm(total=sum(map(len, left)), desc="patches", unit="patch", leave=False) as progress:
        while left:
            wave, rest = _first_rows(left, rows)
            try:
                found.append(torch.cat(passed.sweep(wave)))
            except torch.OutOfMemoryError:
                if rows == 1:
                    raise UserError(
                        "Not even one patch at a time fits the device's memory; take a larger device."
                    ) from None
                rows = max(1, min(rows, sum(map(len, wave))) // 2)
                log.warning("The device ran out of memory; going on with %d patches at a time.", rows)
                torch.cuda.empty_cache()
                continue
            left = rest
            progress.update(len(found[-1]))
    values = torch.cat(found).split([int(changing[number].sum()) for number in order])
    filled: dict[int, Tensor] = {}
    for number, some in zip(order, values, strict=True):
        filled[number] = passed.base.value.repeat(len(patches[number]))
        filled[number][changing[number]] = some
    return [filled[number] for number in range(len(patches))]


def _first_rows(patches: Sequence[Patches], rows: int) -> tuple[list[Patches], list[Patches]]:
    """Return the first so many rows of some patches, and what is left."""
    wave: list[Patches] = []
    for number, some in enumerate(patches):
        if len(some) > rows:
            first, last = some.split(rows)
            return [*wave, first], [last, *patches[number + 1 :]] if rows else [some, *patches[number + 1 :]]
        wave.append(some)
        rows -= len(some)
    return wave, []
