"""Where a circuit's nodes stand in a drawing, and which of its edges are drawn; for the figure and for the page."""

from typing import NamedTuple

import numpy as np

from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name, printable
from an_neuron.patching.circuit_files import LEAST_EDGE, edges

KINDS = {"resid_pre": "token", "z": "attention head", "post": "neuron"}
"""What a node is called, by its site."""
DRAWN = 0.02
"""The least recovery by an edge alone that is drawn."""
LOGITS = -1
ROOM = 1.0


class Edge(NamedTuple):
    """An edge by the numbers of its nodes, the receiver `LOGITS` for the logit difference, and what stands of it."""

    sender: int
    receiver: int
    edge: float
    direct: float
    total: float

    @property
    def through_others(self) -> float:
        """What the sender does to the receiver by way of anything else."""
        return self.total - self.direct


def places(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return where the nodes stand, and at last the logits: positions in columns, layers that have nodes one by one."""
    columns, layers = columns_of(table), sorted({*table["layer"].tolist()})
    x, y = np.zeros(len(table["name"]) + 1), np.zeros(len(table["name"]) + 1)
    for position in columns:
        for height, layer in enumerate(layers):
            here = np.flatnonzero((table["position"] == position) & (table["layer"] == layer))
            left = np.lexsort((table["index"][here], table["site"][here] == "post"))
            apart = min(0.26, 0.8 / max(1, len(here)))
            for place, node in enumerate(here[left]):
                x[node] = columns.index(position) + apart * (place - (len(here) - 1) / 2)
                y[node] = height + (0.25 if table["site"][node] == "post" and len({*table["site"][here]}) > 1 else 0)
    x[LOGITS], y[LOGITS] = columns.index(max(columns)), len(layers) - 1 + ROOM
    return x, y


def columns_of(table: Table) -> list[int]:
    """Return the positions that have nodes, from the prompt's end, the last one at the end."""
    return sorted({*table["position"].tolist()})


def all_edges(table: Table) -> list[Edge]:
    """Return every edge of circuit/circuit.h5 that carries at least `LEAST_EDGE`, the strongest first."""
    found = [
        Edge(sender, receiver, *(float(table[name][sender, receiver]) for name in ("edge", "direct", "total")))
        for sender, receiver in edges(table)
    ]
    to_logits = zip(table["direct_on_metric"].tolist(), table["on_metric"].tolist(), strict=True)
    found += [Edge(sender, LOGITS, direct, direct, total) for sender, (direct, total) in enumerate(to_logits)]
    return sorted((each for each in found if abs(each.edge) >= LEAST_EDGE), key=lambda each: -abs(each.edge))


def label(table: Table, node: int) -> str:
    """Return how a node is called in a drawing: a token by itself, others by layer and number; not escaped."""
    if table["site"][node] == "resid_pre":
        return printable(table["clean_token"][node])
    return neuron_name(table["layer"][node], table["index"][node])


def tokens_at(table: Table, position: int) -> str:
    """Return the tokens at a position: the clean one, and the corrupted one where it differs; not escaped."""
    node = int(np.flatnonzero(table["position"] == position)[0])
    clean, corrupted = (printable(table[f"{kind}_token"][node]) for kind in ("clean", "corrupted"))
    return clean if clean == corrupted else f"{clean} / {corrupted.strip()}"
