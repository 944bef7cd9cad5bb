"""The circuit around the studied neuron: a drawing, every edge as a row, and the neurons below that drive it."""

from typing import Any

import numpy as np

from an_neuron.figures.circuit_layout import (
    DRAWN,
    KINDS,
    LOGITS,
    ROWS,
    Edge,
    all_edges,
    columns_of,
    label,
    places,
    rows_of,
    tokens_at,
)
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name
from an_neuron.page.results import Results, Section
from an_neuron.page.values import quoted, rounded
from an_neuron.patching.circuit_files import LEAST_EDGE

NEURON = KINDS["post"]


def circuit_section(results: Results) -> Section | None:
    """Show the circuit's nodes and edges; None where it was not traced."""
    if "circuit" not in results:
        return None
    table = results.table("circuit")
    edges = all_edges(table)
    shown = {
        "neuron": neuron_name(*results.neuron),
        "n_nodes": len(table["name"]),
        "rows": [edge_row(table, edge) for edge in edges],
        "least": LEAST_EDGE,
        "drawn": DRAWN,
        "graph": results.link(results.path("graph")),
        "figures": ["circuit_fig"],
    }
    return Section("circuit", "The circuit", shown, drawn_circuit(table, edges))


def lead(table: Table) -> str:
    """Return what the circuit says first: how much of the neuron's effect is direct, and which node drives it most."""
    studied = (int(table.attributes["neuron_layer"]), int(table.attributes["neuron_index"]))
    place = (table["layer"] == studied[0]) & (table["index"] == studied[1]) & (table["site"] == "post")
    node = int(np.flatnonzero(place & (table["position"] == -1))[0])
    names = ("on_metric", "direct_on_metric")
    total, direct = (f"{float(table[name][node]):.2f}".replace("-", "\N{MINUS SIGN}") for name in names)
    said = f"Patched alone, {neuron_name(*studied)} recovers {total} of the logit difference"
    said += f", and {direct} by its direct path to the logits."
    into = [edge for edge in all_edges(table) if edge.receiver == node and edge.edge > 0]
    if into:
        said += f" Of the direct paths to it, that from {_at(table, into[0].sender)} carries most: {into[0].edge:.2f}."
    return said


def drawn_circuit(table: Table, edges: list[Edge]) -> dict[str, Any]:
    """Return where nodes and edges are drawn, and what is told of each."""
    x, y = places(table)
    nodes = [_node(table, node) | {"x": rounded(x[node]), "y": rounded(y[node])} for node in range(len(table["name"]))]
    answer, foil = quoted(table.attributes[name] for name in ("answer", "foil"))
    logits = {"x": rounded(x[LOGITS]), "y": rounded(y[LOGITS]), "name": f"logit({answer}) − logit({foil})"}
    lines = [
        {"sender": edge.sender, "receiver": edge.receiver, **_numbers(edge)}
        for edge in edges
        if abs(edge.edge) >= DRAWN
    ]
    columns = [{"x": x, "text": tokens_at(table, position)} for position, x in columns_of(table).items()]
    layers = [f"{layer}, {ROWS[site]}" for layer, site in rows_of(table)]
    return {"nodes": nodes, "logits": logits, "edges": lines, "columns": columns, "layers": layers}


def edge_row(table: Table, edge: Edge) -> dict[str, Any]:
    """Return an edge as a row: what both ends are, and the numbers."""
    to_logits = {"name": "logits", "kind": "logits", "token": "", "label": ""}
    receiver = to_logits if edge.receiver == LOGITS else _node(table, edge.receiver)
    return {"sender": _node(table, edge.sender), "receiver": receiver, **_numbers(edge)}


def _numbers(edge: Edge) -> dict[str, float | None]:
    names = ("edge", "total", "direct", "through_others")
    return {name: rounded(getattr(edge, name), 4) for name in names}


def _node(table: Table, node: int) -> dict[str, Any]:
    total, direct = float(table["on_metric"][node]), float(table["direct_on_metric"][node])
    return {
        "name": _name(table, node),
        "label": label(table, node),
        "kind": KINDS[table["site"][node]],
        "token": tokens_at(table, int(table["position"][node])),
        "total": rounded(total, 4),
        "direct": rounded(direct, 4),
        "through_others": rounded(total - direct, 4),
    }


def _name(table: Table, node: int) -> str:
    return "token" if table["site"][node] == "resid_pre" else str(table["name"][node])


def _at(table: Table, node: int) -> str:
    token = quoted([tokens_at(table, int(table["position"][node]))])[0].replace(" ", "\N{NO-BREAK SPACE}")
    return f"the {_name(table, node)} {token}" if _name(table, node) == "token" else f"{_name(table, node)} at {token}"


def below_section(results: Results) -> Section | None:
    """Show the neurons below that drive the studied one; None where they were not measured."""
    if "driving_neurons" not in results:
        return None
    table = results.table("driving_neurons")
    of = table.attributes
    shown = {
        "neuron": neuron_name(*results.neuron),
        "below": int(of["neurons_below"]),
        "left_out": float(of["largest_estimate_left_out"]),
        "rows": driving_rows(table),
        "figures": ["driving_neurons_fig"],
    }
    return Section("below", "Neurons that drive it", shown)


def driving_rows(table: Table) -> list[dict[str, Any]]:
    """Return the measured neurons, the largest absolute recovery first."""
    columns = (table[name].tolist() for name in ("layer", "index", "recovery", "estimate"))
    rows = [
        {"name": neuron_name(layer, index), "recovery": recovery, "estimate": estimate}
        for layer, index, recovery, estimate in zip(*columns, strict=True)
    ]
    return sorted(rows, key=lambda row: -abs(row["recovery"]))
