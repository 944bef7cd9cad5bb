"""Where a circuit's nodes stand in a drawing, and which of its edges are drawn; for the figure and for the page."""

from typing import NamedTuple

import numpy as np

from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name, printable
from an_neuron.patching.circuit_files import LEAST_EDGE, edges

KINDS = {"resid_pre": "token", "z": "attention head", "post": "neuron"}
"""What a node is called, by its site."""
DRAWN = 0.04
"""The least recovery by an edge alone that is drawn."""
LOGITS = -1
ROWS = {"resid_pre": "embedding", "z": "attention", "post": "MLP"}
"""What the nodes of a row are part of, by their site, from the ground up."""
SLOTS, STRONG = (0, 1, -1, 2, -2, 3, -3), 0.25
"""Where the nodes of a row stand, the strongest first; one without a strong node leaves the middle to passing lines."""
SLOT, LAST_COLUMN, ROOM = 0.3, 1.5, 0.4


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


def rows_of(table: Table) -> list[tuple[int, str]]:
    """Return the layers and sites that have nodes, from the ground up: a row each."""
    found = {*zip(table["layer"].tolist(), table["site"].tolist(), strict=True)}
    return sorted(found, key=lambda row: (row[0], list(ROWS).index(row[1])))


def columns_of(table: Table) -> dict[int, float]:
    """Return where the positions that have nodes stand: the last one, where most happens, with more room."""
    positions = sorted({*table["position"].tolist()})
    places = [float(number) for number in range(len(positions))]
    if len(positions) > 1:
        places[-1] += LAST_COLUMN - 1
    return dict(zip(positions, places, strict=True))


def places(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return where the nodes stand, and at last the logits: across by position, upwards by layer and site."""
    columns, levels = columns_of(table), rows_of(table)
    x = np.array([*(columns[position] for position in table["position"].tolist()), max(columns.values())])
    rows = zip(table["layer"].tolist(), table["site"].tolist(), strict=True)
    y = np.array([*(float(levels.index(row)) for row in rows), len(levels) + ROOM])
    strength = np.abs(table["on_metric"])
    for position in columns:
        for height in range(len(levels)):
            (here,) = np.nonzero((table["position"] == position) & (y[:-1] == height))
            here = here[np.argsort(-strength[here], kind="stable")]
            first = int(len(here) > 0 and strength[here[0]] < STRONG * strength.max())
            x[here] += SLOT * np.take(SLOTS, np.arange(first, first + len(here)), mode="clip")
    return x, y


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
