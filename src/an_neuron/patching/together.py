"""Exact patching of several places at once: sets of neurons, heads and sites, each set in a row of its own.

    best = [[Node(25, "post", 1527)], [Node(25, "post", 1527), Node(23, "post", 1468)]]
    patch_together(engine, prompt_pairs, metric, best).recovery  # [set]
    patch_together(engine, prompt_pairs, metric, best, noising=True)  # what is left without them
    patch_together(engine, prompt_pairs, metric, [AllBut(best[1], neurons)], noising=True)  # what they do alone

A row runs from the first layer in which it is changed, and each later change is put in on its way. Like every sweep it
is held against ordinary forwards.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

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
from an_neuron.patching.rows import NEVER, NODE_SITES, Node, Rows
from an_neuron.patching.runs import Prefixes, Site
from an_neuron.patching.sets import Selection, Set, first_of, rows_of, select
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
    selection = select(_checked(engine, sets))
    wanted = _Wanted(metric, selection.sites, put, tokens_per_wave)
    return _joined([opened.patch(selection, noising) for opened in _opened(engine, prompt_pairs, wanted)])


def patch_both_ways(
    engine: Engine, prompt_pairs: Sequence[PromptPair], metric: Metric, sets: Sequence[Set], noising: Sequence[Set]
) -> tuple[Sweep, Sweep]:
    """Patch sets with clean values put into the corrupted run, and others with corrupted values put into the clean one.

    It is what two calls of `patch_together` do, but each prompt pair's runs are recorded once.
    """
    prompt_pairs = checked_prompt_pairs(engine, prompt_pairs, None)
    ways = {False: select(_checked(engine, sets)), True: select(_checked(engine, noising))}
    wanted = _Wanted(metric, {site for selection in ways.values() for site in selection.sites}, OTHER_RUN, None)
    parts = [
        [opened.patch(selection, way) for way, selection in ways.items()]
        for opened in _opened(engine, prompt_pairs, wanted)
    ]
    there, back = zip(*parts, strict=True)
    return _joined(there), _joined(back)


class OpenPromptPairs:
    """Prompt pairs whose runs are recorded once, so that sets may be patched in them again and again.

    All runs are held at once, on the model's device: of each prompt pair two, at the sites.

    Parameters
    ----------
    engine
        The model.
    prompt_pairs
        Token ids of the prompts.
    metric
        What is measured.
    sites
        Layers and sites that the sets are of.

    Raises
    ------
    UserError
        If an argument is wrong.
    """

    def __init__(
        self, engine: Engine, prompt_pairs: Sequence[PromptPair], metric: Metric, sites: Collection[Site]
    ) -> None:
        self.engine, self.wanted = engine, _Wanted(metric, {*sites}, OTHER_RUN, None)
        self._opened = [*_opened(engine, checked_prompt_pairs(engine, prompt_pairs, None), self.wanted)]

    def patch(self, sets: Sequence[Set], *, noising: bool = False) -> Sweep:
        """Return what `patch_together` does, with spot checks of its own."""
        selection = select(_checked(self.engine, sets))
        return _joined([opened.patch(selection, noising) for opened in self._opened])


@dataclass(frozen=True)
class _Wanted:
    """What prompt pairs are opened for."""

    metric: Metric
    sites: set[Site]
    put: OtherRun
    tokens_per_wave: int | None


def _opened(engine: Engine, prompt_pairs: Sequence[PromptPair], wanted: _Wanted) -> Iterator["_OpenPair"]:
    """Open prompt pairs one after the other, so that nobody need hold them all."""
    longest = max(range(len(prompt_pairs)), key=lambda number: len(prompt_pairs[number].clean))
    prefixes = Prefixes()
    for number, pair in enumerate(prompt_pairs):
        yield _OpenPair(engine, wanted, prefixes, pair, number, number == longest)


class _OpenPair:
    """A prompt pair, opened in the way in which it is first patched; the other way round follows from that."""

    def __init__(
        self, engine: Engine, wanted: _Wanted, prefixes: Prefixes, pair: PromptPair, number: int, checked: bool
    ) -> None:
        self.prefixes = prefixes
        self.engine, self.wanted, self.pair, self.number, self.checked = engine, wanted, pair, number, checked
        self._ways: dict[bool, tuple[OrdinaryPass, Pass | OrdinaryPass]] = {}

    def patch(self, selection: Selection, noising: bool) -> Sweep:
        """Patch the sets."""
        ordinary, passed = self._way(noising)
        checks = check_baselines(ordinary, passed.base_value, passed.source_value, noising, self.number)
        check_change(ordinary)
        columns = self.engine.columns
        if self.checked or passed is ordinary:
            ordinary.note(selection.sites)
        values = run_rows(passed, rows_of(selection, passed.put_at, columns), self.wanted.tokens_per_wave)
        if self.checked:
            checks += check_rows(ordinary, rows_of(selection, ordinary.put_at, columns), values, self.number)
        ends = [passed.base_value.cpu().view(1), passed.source_value.cpu().view(1)]
        clean, corrupted = ends if noising else ends[::-1]
        axes = (("set", range(selection.number)),)
        way = "ordinary" if passed is ordinary else "fast"
        return Sweep(clean, corrupted, values.cpu()[None], tuple(checks), way, axes)

    def _way(self, noising: bool) -> tuple[OrdinaryPass, Pass | OrdinaryPass]:
        if noising not in self._ways:
            self._ways[noising] = self._open(noising)
        return self._ways[noising]

    def _open(self, noising: bool) -> tuple[OrdinaryPass, Pass | OrdinaryPass]:
        if not self._ways or self.wanted.put.everywhere:
            ends = (self.pair.clean, self.pair.corrupted) if noising else (self.pair.corrupted, self.pair.clean)
            wanted = self.wanted
            return self.engine.open(*ends, wanted.metric, wanted.sites, wanted.put, prefixes=self.prefixes)
        ordinary, passed = self._ways[not noising]
        turned = ordinary.turned()
        return turned, turned if isinstance(passed, OrdinaryPass) else passed.turned()


def _joined(parts: Sequence[Sweep]) -> Sweep:
    """Put the sweeps of single prompt pairs together."""
    clean, corrupted, patched = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("clean", "corrupted", "patched")
    )
    checks = tuple(check for part in parts for check in part.checks)
    return Sweep(clean, corrupted, patched, checks, " and ".join(sorted({part.way for part in parts})), parts[0].axes)


def run_rows(passed: Pass | OrdinaryPass, rows: Rows, tokens_per_wave: int | None = None) -> Tensor:
    """Run rows in waves that fit the memory; return the metric of each, [row].

    Of rows that are alike one runs, and of rows in which nothing is changed none: they are the base run. The others go
    by the first layer that is changed, so that those of a wave begin together.
    """
    size, first, alike = rows_per_wave(passed, tokens_per_wave), rows.first_layers(), rows.alike()
    running = sorted({row for row in alike if first[row] != NEVER}, key=first.__getitem__)
    measured = in_waves(lambda wave: torch.cat([passed.run(each)[0] for each in wave]), [rows.of(running)], size)
    values = passed.base_value.repeat(len(rows))
    values[running] = torch.cat([values.new_empty(0), *measured])
    return values[alike]


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
    again = ordinary.run(rows.of(chosen))[0].tolist()
    named = zip(chosen, values[chosen].tolist(), again, strict=True)
    return held(ordinary, [SpotCheck("rows", number, f"{what} {row}", *both) for row, *both in named])


def _checked(engine: Engine, sets: Sequence[Set]) -> Sequence[Set]:
    """Return the sets if the model has all their nodes."""
    if not sets:
        raise UserError("There is no set of nodes to patch.")
    least, most = dict[Site, int](), dict[Site, int]()
    for ordered in {first_of(one).ordered for one in sets}:
        for place, nodes in ordered.places.items():
            least[place] = min(least.get(place, 0), int(nodes.items.min()))
            most[place] = max(most.get(place, 0), int(nodes.items.max()))
    for layer, site in most:
        if site not in NODE_SITES:
            raise UserError(f"{site!r} cannot be patched together with others; {', '.join(NODE_SITES)} can.")
        if not 0 <= layer < engine.n_layers:
            raise UserError(f"There is no layer {layer}; this model has layers 0 to {engine.n_layers - 1}.")
        n_items = engine.ordinary.n_items(layer, site) or 1
        for item in (least[layer, site], most[layer, site]):
            if not 0 <= item < n_items:
                name = Node(layer, site, item).name
                raise UserError(f"There is no {name}: layer {layer} has {n_items} of {site}.")
    return sets
