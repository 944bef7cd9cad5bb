"""A circuit as files: circuit/circuit.h5, and the graph as JSON that other programs load."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from an_neuron.files import hdf5
from an_neuron.files.atomic import write_json
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.again import RECOVERY
from an_neuron.patching.sweep_files import ACTIVATION, COMPARED

if TYPE_CHECKING:
    from an_neuron.patching.circuit import Circuit

LEAST_EDGE = 0.01
EDGE = "sender receiver"
CIRCUIT = Schema(
    "circuit/circuit.h5",
    "what the circuit's nodes do to each other, in total and directly, patched from corrupted to clean",
    {
        "name": Field("sender", "text", "", "the nodes, from the ground up"),
        "layer": Field("sender", "int32", "", "their layers"),
        "site": Field("sender", "text", "", "post for neurons, z for heads, resid_pre for tokens"),
        "index": Field("sender", "int32", "", "number of the neuron or head in its layer"),
        "position": Field("sender", "int32", "", "position from the prompt's end, -1 is the last"),
        "clean_token": Field("sender", "text", "", "the clean prompt's token there"),
        "corrupted_token": Field("sender", "text", "", "the corrupted prompt's token there"),
        "on_metric": Field("sender", "float32", RECOVERY, "recovery of the logit difference by the node alone"),
        "direct_on_metric": Field("sender", "float32", RECOVERY, "the part that goes to the logits directly"),
        "total": Field(EDGE, "float32", RECOVERY, "what a node does to another, along that one's own change"),
        "direct": Field(EDGE, "float32", RECOVERY, "the same by the direct path alone, all between held as it was"),
        "edge": Field(EDGE, "float32", RECOVERY, "recovery of the logit difference by the direct path alone"),
    },
    {
        **COMPARED,
        **ACTIVATION.said,
        "spot_checks": "how many kinds of values were measured again by ordinary forwards",
        "rounding": "the largest difference of one of them",
    },
)
GRAPH = Schema(
    "circuit/circuit.json",
    "the circuit as a graph in node-link form, as networkx.node_link_graph(…, edges='links') loads it",
)


def write_circuit(
    path: str | Path, circuit: "Circuit", tokens: Mapping[str, Sequence[str]], attributes: Mapping[str, Any]
) -> None:
    """Write circuit/circuit.h5.

    Parameters
    ----------
    tokens
        clean and corrupted: the tokens of the first prompt pair.
    attributes
        Those that name answer, foil and neuron, besides those of every file.
    """
    nodes = circuit.nodes
    values = {
        "name": [node.name for node in nodes],
        "layer": [node.layer for node in nodes],
        "site": [node.site for node in nodes],
        "index": [node.item for node in nodes],
        "position": [node.position for node in nodes],
        **{f"{kind}_token": [tokens[kind][node.position or 0] for node in nodes] for kind in ("clean", "corrupted")},
        "on_metric": circuit.on_metric,
        "direct_on_metric": circuit.direct_on_metric,
        "total": circuit.total,
        "direct": circuit.direct,
        "edge": circuit.edges,
    }
    rounding = max(check.difference for check in circuit.checks)
    hdf5.write(path, CIRCUIT, values, {**attributes, "spot_checks": len(circuit.checks), "rounding": rounding})


def write_graph(path: str | Path, table: Table) -> None:
    """Write circuit/circuit.json from circuit/circuit.h5; edges are those of at least `LEAST_EDGE`."""
    names = [f"{name}@{position}" for name, position in zip(table["name"], table["position"], strict=True)]
    columns = ("name", "layer", "site", "index", "position", "clean_token", "corrupted_token", "on_metric")
    nodes = [{"id": name, **{key: _plain(table[key][row]) for key in columns}} for row, name in enumerate(names)]
    links = [
        {
            "source": names[sender],
            "target": names[receiver],
            **{key: _plain(table[key][sender, receiver]) for key in ("total", "direct", "edge")},
        }
        for sender, receiver in edges(table)
    ]
    to_logits = [
        {"source": name, "target": "logits", "total": _plain(total), "direct": _plain(direct), "edge": _plain(direct)}
        for name, total, direct in zip(names, table["on_metric"], table["direct_on_metric"], strict=True)
        if abs(direct) >= LEAST_EDGE
    ]
    said = {key: _plain(value) for key, value in sorted(table.attributes.items())}
    graph = {"directed": True, "multigraph": False, "graph": said}
    write_json(path, {**graph, "nodes": [*nodes, {"id": "logits"}], "links": [*links, *to_logits]}, indent=1)


def edges(table: Table) -> list[tuple[int, int]]:
    """Return sender and receiver of each edge of circuit/circuit.h5 that carries at least `LEAST_EDGE`."""
    number = range(len(table["name"]))
    return [
        (sender, receiver)
        for sender in number
        for receiver in number
        if sender != receiver and abs(table["edge"][sender, receiver]) >= LEAST_EDGE
    ]


def _plain(value: Any) -> Any:
    """Return a number or text as JSON knows it, with the digits that mean something."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return round(value, 5) if isfinite(value) else None
    return value
