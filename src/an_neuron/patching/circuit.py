"""A circuit: what its nodes do to each other, by every path and by the direct one alone.

A sender's clean value is put into the corrupted run, at its position, and every other node is looked at. By every path:
the run goes on as it will. By the direct one: what every attention and every MLP adds to the residual stream, but for
what the sender itself writes, is held at the corrupted run's values, so that a receiver sees the sender's change in the
stream and nothing that others made of it (path patching). All senders run at once, a row each, so that a circuit takes
two forwards of a batch.

What a receiver does is measured along its own change between the prompts: 0 as in the corrupted run, 1 as in the clean
one. How much of a sender's effect on the metric an edge carries is measured, too: the receiver alone is set to what the
sender's direct change makes of it, and the metric recovers so much.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import Metric
from an_neuron.patching.ordinary import OrdinaryPass
from an_neuron.patching.plan import check_change
from an_neuron.patching.rows import Change, Node, Rows
from an_neuron.patching.runs import Site
from an_neuron.patching.sets import rows_of, select
from an_neuron.patching.spot_checks import SpotCheck, held
from an_neuron.patching.wavefront import Pass
from an_neuron.prompts.pairs import PromptPair

WRITES = {"z": "attn_out", "q": "attn_out", "k": "attn_out", "v": "attn_out", "post": "mlp_out"}
"""Through which site a node's change enters the residual stream; a whole site is one itself."""
OUTPUTS = ("attn_out", "mlp_out")
CHECKED = 3
"""Senders whose effects are all measured again by ordinary forwards; the largest difference of each kind is kept."""
CHECKS = {
    "metric": "effect on the metric",
    "direct_metric": "direct effect on the metric",
    "total": "effect on a node",
    "direct": "direct effect on a node",
    "edges": "effect of an edge on the metric",
}


@dataclass(frozen=True)
class Circuit:
    """What nodes do to each other and to the metric.

    Attributes
    ----------
    nodes
        Each with a position.
    total, direct
        Of each sender on each receiver, by every path and by the direct one alone, [sender, receiver]; 0 where the
        receiver does not come after the sender, 1 on itself. NaN for a receiver that is the same in both prompts.
    edges
        Recovery of the metric by one edge alone, [sender, receiver]: the receiver is what the sender directly makes it.
    on_metric, direct_on_metric
        Recovery of the metric, [sender].
    checks
        Values measured again by ordinary forwards.
    """

    nodes: tuple[Node, ...]
    total: Tensor
    direct: Tensor
    edges: Tensor
    on_metric: Tensor
    direct_on_metric: Tensor
    checks: tuple[SpotCheck, ...]

    @property
    def through_others(self) -> Tensor:
        """What a sender does by way of anything else, [sender, receiver]: the total without the direct effect."""
        return self.total - self.direct


@dataclass(frozen=True)
class _Effects:
    """In one prompt pair: how far each receiver goes along its own change, [sender, receiver], and its length."""

    total: Tensor
    direct: Tensor
    edges: Tensor
    length: Tensor
    metric: Tensor
    direct_metric: Tensor
    range: float


def trace(engine: Engine, prompt_pairs: Sequence[PromptPair], metric: Metric, nodes: Sequence[Node]) -> Circuit:
    """Measure what nodes do to each other.

    Parameters
    ----------
    engine
        The model.
    prompt_pairs
        Token ids of the prompts; effects are those of the mean over them.
    metric
        A function of the final residual stream or the logits.
    nodes
        Neurons (post), heads (z) or streams (resid_pre), each with a position.

    Raises
    ------
    UserError
        If a node has no position, or a spot check fails.
    """
    nodes = tuple(dict.fromkeys(nodes))
    if missing := [node for node in nodes if node.position is None]:
        raise UserError(f"{missing[0].name} has no position; each node of a circuit has one.")
    effects, checks, sites = list[_Effects](), list[SpotCheck](), _sites(engine, nodes)
    for number, pair in enumerate(prompt_pairs):
        ordinary, passed = engine.open(pair.corrupted, pair.clean, metric, sites)
        check_change(ordinary)
        if number == 0 or passed is ordinary:
            ordinary.note(sites)
            ordinary.note(sites, own=True)
        effects.append(_effects(engine, passed, nodes, nodes))
        if number == 0:
            checks = _check_some(engine, ordinary, nodes, effects[0])
    total, direct, edges, length, on_metric, directly = (
        torch.stack([getattr(each, name) for each in effects]).mean(0)
        for name in ("total", "direct", "edges", "length", "metric", "direct_metric")
    )
    span = sum(each.range for each in effects) / len(effects)
    on_nodes = total / length, direct / length
    return Circuit(nodes, *on_nodes, edges / span, on_metric / span, directly / span, tuple(checks))


def _sites(engine: Engine, nodes: Sequence[Node]) -> set[Site]:
    """Return the sites of the nodes, and of all that writes into the stream."""
    outputs = {(layer, site) for layer in range(engine.n_layers) for site in OUTPUTS}
    return outputs | {(node.layer, node.site) for node in nodes}


def _effects(
    engine: Engine, passed: Pass | OrdinaryPass, senders: Sequence[Node], receivers: Sequence[Node]
) -> _Effects:
    rows = rows_of(select([[node] for node in senders]), passed.put_at, engine.columns)
    frozen = Rows(len(rows), (*rows.changes, *_held_outputs(engine, passed, senders)))
    sites, base = {(node.layer, node.site) for node in receivers}, float(passed.base_value)
    metric, seen = passed.run(rows, sites)
    direct_metric, seen_directly = passed.run(frozen, sites)
    along = [_along(node, passed, engine.columns(node.layer, node.site)) for node in receivers]
    return _Effects(
        total=torch.stack([read(seen) for read, _ in along], dim=1),
        direct=torch.stack([read(seen_directly) for read, _ in along], dim=1),
        edges=_by_edges(engine, passed, seen_directly, receivers, len(senders)) - base,
        length=torch.stack([length for _, length in along]),
        metric=metric.cpu() - base,
        direct_metric=direct_metric.cpu() - base,
        range=float(passed.source_value) - base,
    )


def _by_edges(
    engine: Engine, passed: Pass | OrdinaryPass, seen: dict[Site, Tensor], receivers: Sequence[Node], number: int
) -> Tensor:
    """Return the metric with each receiver set to what each of so many senders made of it, [sender, receiver]."""
    by_receiver = []
    for receiver in receivers:
        site = receiver.layer, receiver.site
        rows = rows_of(select([[receiver]] * number), passed.put_at, engine.columns)
        made = replace(rows.changes[0], values=seen[site])
        by_receiver.append(passed.run(Rows(number, (made,)))[0])
    return torch.stack(by_receiver, dim=1).cpu()


def _held_outputs(engine: Engine, passed: Pass | OrdinaryPass, senders: Sequence[Node]) -> list[Change]:
    """Return the changes that hold what every layer adds to the stream, but for what each row's sender writes."""
    changes = []
    for layer in range(min(node.layer for node in senders), engine.n_layers):
        for site in OUTPUTS:
            own = [node.layer == layer and WRITES.get(node.site, node.site) == site for node in senders]
            values = passed.own(layer, site)
            mask = ~torch.tensor(own, device=values.device)[:, None, None]
            changes.append(Change(layer, site, mask, values[None]))
    return changes


def _along(
    node: Node, passed: Pass | OrdinaryPass, columns: Tensor | None
) -> tuple[Callable[[dict[Site, Tensor]], Tensor], Tensor]:
    """Return what reads how far a receiver goes along its own change between the prompts, and how far that is."""
    site, position = (node.layer, node.site), node.position
    part: slice | Tensor = slice(None) if columns is None else columns[node.item]
    if node.site == "post":
        part = slice(node.item, node.item + 1)
    base = passed.own(*site)[position, part].double()
    change = passed.put_at(*site)[position, part].double() - base
    length = change.norm()

    def read(seen: dict[Site, Tensor]) -> Tensor:
        return ((seen[site][:, position, part].double() - base) @ (change / length.clamp(min=1e-30))).cpu()

    return read, length.cpu()


def _check_some(engine: Engine, ordinary: OrdinaryPass, nodes: Sequence[Node], found: _Effects) -> list[SpotCheck]:
    """Hold all that some senders do against ordinary forwards: the one of the largest effect, and others, drawn."""
    drawn = torch.randperm(len(nodes), generator=torch.Generator().manual_seed(len(nodes))).tolist()
    rows = list(dict.fromkeys([int(found.metric.abs().argmax()), *drawn]))[:CHECKED]
    again = _effects(engine, ordinary, [nodes[row] for row in rows], nodes)
    checks = []
    for name, what in CHECKS.items():
        values, expected = getattr(found, name)[rows], getattr(again, name)
        worst = int((values - expected).abs().argmax())
        sender = nodes[rows[worst // max(1, values[0].numel())]].name
        value, ordinarily = float(values.flatten()[worst]), float(expected.flatten()[worst])
        checks.append(SpotCheck("circuit", 0, f"{what} of {sender}", value, ordinarily))
    return held(ordinary, checks)
