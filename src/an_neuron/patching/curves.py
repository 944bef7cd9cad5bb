"""How much the best neurons and heads do together: recovery, what is left without them, and faithfulness, by number.

Nodes are ranked on the main prompt pairs: by their exact single effects, by attribution's estimates, or by greedy
choice (each next one is that which helps most beside those before). Of the first k of a ranking are measured, in every
prompt pair:

recovery      their clean values put into the corrupted run: what they bring back
left          their corrupted values put into the clean run: what remains without them
faithfulness  in the clean run everything else of their kind is set to its corrupted value: what they do alone

All three are shares of the logit difference between the corrupted run (0) and the clean one (1). Faithfulness over the
share of nodes is what benchmarks of circuits report (MIB): its area, CPR, of rankings by signed effect, where more is
better; and the area between it and 1, CMD, of rankings by absolute effect, where less is better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.patching.attribution import attribute, of_heads
from an_neuron.patching.curve_files import ENOUGH
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import Metric
from an_neuron.patching.rows import Node
from an_neuron.patching.runs import Site
from an_neuron.patching.sets import AllBut, Ordered, Set
from an_neuron.patching.spot_checks import SpotCheck
from an_neuron.patching.together import OpenPromptPairs, patch_both_ways
from an_neuron.prompts.pairs import PromptPair

KINDS = {"neurons": ("post",), "heads": ("z",), "neurons and heads": ("post", "z")}
SIZES = (0, 1, 2, 5, 10, 20, 50, 100, 300, 1000, 5000)
GREEDY, GREEDY_CANDIDATES = 8, 32
SEARCHED = 150
"""Up to so many nodes the smallest set is looked for one by one."""
AT_A_TIME = 30
"""So many of them run together."""


@dataclass(frozen=True)
class Ranking:
    """Nodes of a kind, the best first.

    Attributes
    ----------
    kind
        One of `KINDS`.
    by
        "exact", "attribution" or "greedy", with ", absolute" where the sign of an effect does not count.
    nodes
        Without positions; of a greedy ranking only the first ones.
    of
        How many nodes of the kind there are.
    sites
        Layers and sites that they are of.
    """

    kind: str
    by: str
    nodes: Sequence[Node]
    of: int
    sites: frozenset[Site]

    def sizes(self) -> list[int]:
        """Return the numbers of nodes that are measured: up to all of them."""
        return [size for size in SIZES if size < len(self.nodes)] + [len(self.nodes)]


@dataclass(frozen=True)
class Curve:
    """A ranking's first k nodes, measured in every prompt pair.

    Attributes
    ----------
    ranking
        The ranking.
    recovery, left, faithfulness
        Of each number k of `ranking.sizes()`, [k, prompt_pair].
    """

    ranking: Ranking
    recovery: Tensor
    left: Tensor
    faithfulness: Tensor

    @property
    def shares(self) -> np.ndarray:
        """The numbers k as shares of all nodes, [k]."""
        return np.array(self.ranking.sizes()) / self.ranking.of

    def areas(self, among: np.ndarray) -> tuple[float, float]:
        """Return CPR and CMD of the mean faithfulness over some of the prompt pairs; NaN where a ranking ends early."""
        if len(self.ranking.nodes) < self.ranking.of:
            return np.nan, np.nan
        mean = self.faithfulness.numpy()[:, among].mean(1)
        return float(np.trapezoid(mean, self.shares)), float(np.trapezoid(np.abs(1 - mean), self.shares))


def rankings_of(kind: str, exact: Mapping[Node, float], attribution: Mapping[Node, float]) -> list[Ranking]:
    """Return the rankings of a kind's nodes by exact effect and by attribution, signed and absolute.

    Parameters
    ----------
    kind
        One of `KINDS`.
    exact, attribution
        Recovery of each node patched alone, and attribution's estimate of it. Where not every node was patched, the
        exact ranking ends with those that were.
    """
    rankings = []
    of_kind = [node for node in attribution if node.site in KINDS[kind]]
    sites = frozenset((node.layer, node.site) for node in of_kind)
    for by, effects in (("exact", exact), ("attribution", attribution)):
        nodes = {node: effect for node, effect in effects.items() if node.site in KINDS[kind]}
        signed = sorted(nodes, key=nodes.__getitem__, reverse=True)
        absolute = sorted(nodes, key=lambda node: abs(effects[node]), reverse=True)
        rankings.append(Ranking(kind, by, signed, len(of_kind), sites))
        rankings.append(Ranking(kind, f"{by}, absolute", absolute, len(of_kind), sites))
    return rankings


def effects_of_neurons(recovery: np.ndarray, layers: Sequence[int]) -> dict[Node, float]:
    """Return the recovery of each neuron, [layer, d_mlp], by its node; NaN stands for one that was not patched."""
    return {node: value for node, value in _by_node("post", recovery, layers).items() if value == value}


def effects_of_heads(recovery: np.ndarray) -> dict[Node, float]:
    """Return the recovery of each head of all layers, [layer, head], by its node."""
    return _by_node("z", recovery, range(len(recovery)))


def _by_node(site: str, recovery: np.ndarray, layers: Sequence[int]) -> dict[Node, float]:
    return {
        Node(int(layer), site, index): value
        for layer, values in zip(layers, recovery.tolist(), strict=True)
        for index, value in enumerate(values)
    }


def estimated_heads(engine: Engine, prompt_pairs: Sequence[PromptPair], metric: Metric) -> np.ndarray:
    """Return attribution's estimate of each head's recovery, [layer, head]; heads have their number everywhere."""
    sites, model = [(layer, "z") for layer in range(engine.n_layers)], engine.ordinary
    effects = attribute(model, prompt_pairs, metric, sites)
    spans = [float(model.run(pair.clean, metric) - model.run(pair.corrupted, metric)) for pair in prompt_pairs]
    by_head = [of_heads(effects[site].mean(0).sum(0), _heads(engine, site)).numpy() for site in sites]
    return np.stack(by_head) / np.mean(spans)


def _heads(engine: Engine, site: Site) -> Tensor:
    columns = engine.columns(*site)
    if columns is None:
        raise UserError(f"Layer {site[0]} has no attention heads.")
    return columns


def greedy(prompts: OpenPromptPairs, ranking: Ranking) -> Ranking:
    """Return the nodes that a greedy choice takes: each next one recovers most beside those before.

    Candidates are the first ones of a ranking; the choice ends with `GREEDY` nodes. The prompt pairs are open for the
    ranking's sites.
    """
    candidates, chosen = list(ranking.nodes[:GREEDY_CANDIDATES]), list[Node]()
    for _ in range(min(GREEDY, len(candidates))):
        rest = [node for node in candidates if node not in chosen]
        swept = prompts.patch([[*chosen, node] for node in rest])
        chosen.append(rest[int(swept.recovery.argmax())])
    return replace(ranking, by="greedy", nodes=chosen)


def measure_curves(
    engine: Engine, prompt_pairs: Sequence[PromptPair], metric: Metric, rankings: Sequence[Ranking]
) -> tuple[list[Curve], list[SpotCheck]]:
    """Measure the first k nodes of each ranking in every prompt pair, all of them in one sweep each way.

    Returns
    -------
    tuple
        The curves, and the values that were measured again by ordinary forwards.
    """
    firsts = [
        (ranking, ordered.first(size))
        for ranking, ordered in [(ranking, Ordered(ranking.nodes)) for ranking in rankings]
        for size in ranking.sizes()
    ]
    sets: list[Set] = [first for _, first in firsts]
    alone = [AllBut(first, ranking.sites) for ranking, first in firsts]
    together, without = patch_both_ways(engine, prompt_pairs, metric, sets, [*sets, *alone])
    left, faithfulness = without.recovery_per_prompt_pair.T.chunk(2)
    sizes = [len(ranking.sizes()) for ranking in rankings]
    tables = (values.split(sizes) for values in (together.recovery_per_prompt_pair.T, left, faithfulness))
    curves = [Curve(ranking, *measured) for ranking, *measured in zip(rankings, *tables, strict=True)]
    return curves, [*together.checks, *without.checks]


def smallest_set(prompts: OpenPromptPairs, ranking: Ranking) -> tuple[int, float, float] | None:
    """Return how many of a ranking's nodes recover `ENOUGH`, how much, and what is left without them; None if none do.

    Sets of up to `SEARCHED` nodes are tried one by one, some at a time, on the mean over the prompt pairs, which are
    open for the ranking's sites.
    """
    most = min(SEARCHED, len(ranking.nodes))
    for start in range(0, most, AT_A_TIME):
        sizes = range(start + 1, min(start + AT_A_TIME, most) + 1)
        recovery = prompts.patch([ranking.nodes[:size] for size in sizes]).recovery.tolist()
        enough = [(size, value) for size, value in zip(sizes, recovery, strict=True) if value >= ENOUGH]
        if enough:
            without = prompts.patch([ranking.nodes[: enough[0][0]]], noising=True)
            return *enough[0], float(without.recovery[0])
    return None
