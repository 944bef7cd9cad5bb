"""Exact patching of several places at once: sets of neurons, heads and sites, each set in a row of its own.

    best = [[Node(25, "post", 1527)], [Node(25, "post", 1527), Node(23, "post", 1468)]]
    patch_together(engine, prompt_pairs, metric, best).recovery  # [set]
    patch_together(engine, prompt_pairs, metric, best, noising=True)  # what is left without them
    patch_together(engine, prompt_pairs, metric, [AllBut(best[1], neurons)], noising=True)  # what they do alone

A row runs from the first layer in which it is changed, and each later change is put in on its way. Like every sweep it
is held against ordinary forwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.patching.arguments import checked_prompt_pairs, engine_of
from an_neuron.patching.engine import Engine
from an_neuron.patching.interventions import OTHER_RUN, OtherRun
from an_neuron.patching.metric import Metric
from an_neuron.patching.ordinary import OrdinaryPass
from an_neuron.patching.plan import check_change
from an_neuron.patching.rows import NODE_SITES, Rows, Selection, Set, nodes_of, rows_of, select
from an_neuron.patching.spot_checks import SpotCheck, check_baselines, held
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.wavefront import Pass
from an_neuron.patching.waves import in_waves, rows_per_wave
from an_neuron.prompts.pairs import PromptPair

CHECKED = 3
"""Rows that are measured again by ordinary forwards: the one of the largest effect, and others, drawn."""


def patch_together(
    model: TransformerBridge | Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    sets: Sequence[Set],
    *,
    noising: bool = False,
    put: OtherRun = OTHER_RUN,
    tokens_per_wave: int | None = None,
) -> Sweep:
    """Patch the nodes of each set together.

    Parameters
    ----------
    model
        A bridge, or an engine made of one.
    prompt_pairs
        Token ids of the prompts.
    metric
        What is measured.
    sets
        The nodes of each: neurons, heads, or sites as a whole, at one position or at all; or everything of some sites
        but those (`AllBut`). A set may be empty.
    noising
        Put corrupted activations into the clean run, instead of clean ones into the corrupted run.
    put
        What is put in instead of the other run's activation, at all positions (`interventions`).
    tokens_per_wave
        At most so many token positions run at once; chosen by memory if None.

    Returns
    -------
    Sweep
        `patched` is [prompt_pair, set].

    Raises
    ------
    UserError
        If an argument is wrong, or a spot check fails.
    """
    engine = engine_of(model)
    prompt_pairs = checked_prompt_pairs(engine, prompt_pairs, tokens_per_wave)
    wanted = _Wanted(select(_checked(engine, sets)), metric, noising, put, tokens_per_wave)
    longest = max(range(len(prompt_pairs)), key=lambda number: len(prompt_pairs[number].clean))
    parts = [_patch_pair(engine, wanted, pair, number, number == longest) for number, pair in enumerate(prompt_pairs)]
    return replace(_joined(parts), axes=(("set", range(len(sets))),))


@dataclass(frozen=True)
class _Wanted:
    """What `patch_together` is asked for, besides the prompt pairs."""

    selection: Selection
    metric: Metric
    noising: bool
    put: OtherRun
    tokens_per_wave: int | None


def _patch_pair(engine: Engine, wanted: _Wanted, pair: PromptPair, number: int, checked: bool) -> Sweep:
    """Patch the sets in one prompt pair."""
    base, source = (pair.clean, pair.corrupted) if wanted.noising else (pair.corrupted, pair.clean)
    ordinary, passed = engine.open(base, source, wanted.metric, wanted.selection.sites, wanted.put)
    checks = check_baselines(ordinary, passed.base_value, passed.source_value, wanted.noising, number)
    check_change(ordinary)
    values = run_rows(passed, rows_of(wanted.selection, passed.put_at, engine.columns), wanted.tokens_per_wave)
    if checked:
        checks += check_rows(ordinary, rows_of(wanted.selection, ordinary.put_at, engine.columns), values, number)
    ends = [passed.base_value.cpu().view(1), passed.source_value.cpu().view(1)]
    clean, corrupted = ends if wanted.noising else ends[::-1]
    return Sweep(clean, corrupted, values.cpu()[None], tuple(checks), "ordinary" if passed is ordinary else "fast")


def _joined(parts: Sequence[Sweep]) -> Sweep:
    """Put the sweeps of single prompt pairs together."""
    clean, corrupted, patched = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("clean", "corrupted", "patched")
    )
    checks = tuple(check for part in parts for check in part.checks)
    return Sweep(clean, corrupted, patched, checks, " and ".join(sorted({part.way for part in parts})))


def run_rows(passed: Pass | OrdinaryPass, rows: Rows, tokens_per_wave: int | None = None) -> Tensor:
    """Run rows in waves that fit the memory; return the metric of each, [row]."""
    size = rows_per_wave(passed, tokens_per_wave)
    return torch.cat(list(in_waves(lambda wave: torch.cat([passed.run(each)[0] for each in wave]), [rows], size)))


def check_rows(ordinary: OrdinaryPass, rows: Rows, values: Tensor, number: int, what: str = "set") -> list[SpotCheck]:
    """Hold some rows' values against ordinary forwards: that of the largest effect, and others, drawn.

    Raises
    ------
    UserError
        If one differs by more than rounding.
    """
    effect = (values - ordinary.base_value).abs()
    drawn = torch.randperm(len(values), generator=torch.Generator().manual_seed(len(values))).tolist()
    chosen = list(dict.fromkeys([int(effect.argmax()), *drawn]))[:CHECKED]
    again = {row: float(ordinary.run(rows.of(slice(row, row + 1)))[0][0]) for row in chosen}
    return held(
        ordinary, [SpotCheck("rows", number, f"{what} {row}", float(values[row]), again[row]) for row in chosen]
    )


def _checked(engine: Engine, sets: Sequence[Set]) -> Sequence[Set]:
    """Return the sets if the model has all their nodes."""
    if not sets:
        raise UserError("There is no set of nodes to patch.")
    for node in {node for one in sets for node in nodes_of(one)}:
        if node.site not in NODE_SITES:
            raise UserError(f"{node.site!r} cannot be patched together with others; {', '.join(NODE_SITES)} can.")
        if not 0 <= node.layer < engine.n_layers:
            raise UserError(f"There is no layer {node.layer}; this model has layers 0 to {engine.n_layers - 1}.")
        n_items = engine.ordinary.n_items(node.layer, node.site) or 1
        if not 0 <= node.item < n_items:
            raise UserError(f"There is no {node.name}: layer {node.layer} has {n_items} of {node.site}.")
    return sets
