"""Exact patching of several places at once: sets of neurons, heads and sites, each set in a row of its own.

    best = [[Node(25, "post", 1527)], [Node(25, "post", 1527), Node(23, "post", 1468)]]
    patch_together(engine, prompt_pairs, metric, best).recovery  # [set]
    patch_together(engine, prompt_pairs, metric, best, noising=True)  # what is left without them
    patch_together(engine, prompt_pairs, metric, [AllBut(best[1], neurons)], noising=True)  # what they do alone

A row runs from the first layer in which it is changed, and each later change is put in on its way. Like every sweep it
is held against ordinary forwards.
"""

from collections.abc import Sequence

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
from an_neuron.patching.rows import NODE_SITES, Rows, Set, nodes_of, rows_of, sites_of
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
    sites = sites_of(_checked(engine, sets))
    longest = max(range(len(prompt_pairs)), key=lambda number: len(prompt_pairs[number].clean))
    patched, ends, checks, ways = [], [], list[SpotCheck](), set[str]()
    for number, pair in enumerate(prompt_pairs):
        base, source = (pair.clean, pair.corrupted) if noising else (pair.corrupted, pair.clean)
        ordinary, passed = engine.open(base, source, metric, sites, put)
        checks += check_baselines(ordinary, passed.base_value, passed.source_value, noising, number)
        check_change(ordinary)
        rows = rows_of(sets, sites, passed.put_at, engine.columns)
        values = run_rows(passed, rows, tokens_per_wave)
        if number == longest:
            checks += check_rows(ordinary, rows_of(sets, sites, ordinary.put_at, engine.columns), values, number)
        patched.append(values.cpu())
        ends.append([float(passed.base_value), float(passed.source_value)])
        ways.add("ordinary" if passed is ordinary else "fast")
    own, other = torch.tensor(ends).T
    clean, corrupted = (own, other) if noising else (other, own)
    axes = (("set", range(len(sets))),)
    return Sweep(clean, corrupted, torch.stack(patched), tuple(checks), " and ".join(sorted(ways)), axes)


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
