"""Which neurons, heads and tokens a circuit shows: those that move the metric or the studied neuron most."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import Metric, NeuronActivation
from an_neuron.patching.rows import Node
from an_neuron.patching.together import patch_together
from an_neuron.prompts.pairs import PromptPair, first_difference

LIMIT = 14
LEAST = 0.03
"""The least share of the metric's change, or of the studied neuron's, that makes a node worth showing."""


def at_positions(prompt_pairs: Sequence[PromptPair], nodes: Sequence[Node]) -> list[Node]:
    """Return nodes at each position at which the prompts of every pair may differ."""
    suffix = min(len(pair.clean) - first_difference(pair.clean, pair.corrupted) for pair in prompt_pairs)
    return [replace(node, position=position) for node in nodes for position in range(-suffix, 0)]


def changed_tokens(prompt_pairs: Sequence[PromptPair]) -> list[Node]:
    """Return the positions at which the tokens of every pair differ, as nodes: the stream that enters layer 0."""
    shortest = min(len(pair.clean) for pair in prompt_pairs)
    return [
        Node(0, "resid_pre", position=position)
        for position in range(-shortest, 0)
        if all(pair.clean[position] != pair.corrupted[position] for pair in prompt_pairs)
    ]


def choose_nodes(
    engine: Engine,
    prompt_pairs: Sequence[PromptPair],
    metric: Metric,
    studied: Node,
    candidates: Sequence[Node],
    limit: int = LIMIT,
) -> list[Node]:
    """Return the nodes that do most, each at one position, in the order of the layers; the studied neuron among them.

    Parameters
    ----------
    engine
        The model.
    prompt_pairs
        Token ids of the prompts.
    metric
        What is measured at the end.
    studied
        The neuron whose activation at the last position is measured besides.
    candidates
        Neurons and heads without a position; each is patched at every one that the prompts can differ in.
    limit
        At most so many nodes, besides tokens.
    """
    placed = at_positions(prompt_pairs, list(dict.fromkeys([studied, *candidates])))
    sets = [[node] for node in placed]
    inside = NeuronActivation(studied.layer, index=studied.item)
    recovery: Tensor = patch_together(engine, prompt_pairs, metric, sets).recovery.abs()
    before = [number for number, node in enumerate(placed) if node.layer <= studied.layer]
    driven = patch_together(engine, prompt_pairs, inside, [sets[number] for number in before]).recovery.abs()
    score = recovery.clone()
    score[before] = score[before].maximum(driven)
    ranked = sorted(range(len(placed)), key=lambda number: -float(score[number]))
    chosen = [placed[number] for number in ranked[:limit] if float(score[number]) >= LEAST]
    own = replace(studied, position=-1)
    return sorted({own, *chosen, *changed_tokens(prompt_pairs)}, key=_depth)


def _depth(node: Node) -> tuple[int, int, int, int]:
    """Return a node's place from the ground up: by layer, streams before heads before neurons."""
    return node.layer, ("resid_pre", "z", "post").index(node.site), node.position or 0, node.item
