"""The circuit: tokens, heads and neurons by layer and position, and what they do to each other."""

import numpy as np
import plotly.graph_objects as go

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
from an_neuron.figures.labels import MARGIN, Frame, Labels, add_text, box_around, text_size
from an_neuron.figures.style import REFERENCE_COLOR, add_subtitle, empty_figure, hover
from an_neuron.files.hdf5 import Table
from an_neuron.files.look import look, smaller_letters
from an_neuron.files.texts import visible

SYMBOLS = {"resid_pre": "square", "z": "diamond", "post": "circle"}
HELPS, AGAINST, NEUTRAL = "#0072b2", "#d55e00", "#9e9e9e"
NUMBERED = 0.08
"""The least recovery by an edge alone whose number stands beside the line."""
WIDEST, LARGEST = 18.0, 40.0
"""Pixels of a line and of a node of effect 1, with letters of the usual size."""
LETTERS = 0.72
"""The share of the usual size that letters have: the names of all nodes must find their places."""
MOVED = 0.5
"""The least of its change that a token makes of a node, by way of others, that a dotted line shows."""


@smaller_letters(LETTERS)
def circuit_fig(table: Table) -> go.Figure:
    """Draw the nodes of circuit/circuit.h5, sized by effect, and the direct effects between them.

    Parameters
    ----------
    table
        circuit/circuit.h5.
    """
    x, y = places(table)
    answer, foil = (visible(table.attributes[name]) for name in ("answer", "foil"))
    margin = {**MARGIN, "l": 120, "t": 80, "r": 30}
    frame = Frame((-0.5, float(x[-1]) + 1.1), (-0.6, float(y[-1]) + 0.5), margin)
    figure = empty_figure("The Circuit: What Tokens, Heads and Neurons Do Directly", "Position", "Layer", frame)
    layout, drawn = _around_nodes(table, frame, x, y), [edge for edge in all_edges(table) if abs(edge.edge) >= DRAWN]
    at = [*zip(x, y, strict=True)]
    lines = [_line(at[edge.sender], at[edge.receiver], edge.edge) for edge in drawn]
    for line, edge in reversed([*zip(lines, drawn, strict=True)]):  # the strongest on top
        _add_edge(figure, line, edge.edge, _said(table, edge))
    for line, edge in zip(lines, drawn, strict=True):  # whose numbers choose their places first
        if abs(edge.edge) >= NUMBERED:
            _add_number(figure, layout, line, edge.edge)
    _add_paths_of_tokens(figure, table, x, y)
    for site, symbol in SYMBOLS.items():
        _add_nodes(figure, table, x, y, np.flatnonzero(table["site"] == site), KINDS[site], symbol)
    _add_logits(figure, x[-1], y[-1], f"logit difference '{answer}' − '{foil}'")
    levels = [f"{layer}, {ROWS[site]}" for layer, site in rows_of(table)]
    figure.update_yaxes(tickvals=list(range(len(levels))), ticktext=levels)
    figure.update_yaxes(showgrid=True, gridcolor="#ebebeb", zeroline=False)
    columns = columns_of(table)
    named = [visible(tokens_at(table, position)) for position in columns]
    figure.update_xaxes(tickvals=list(columns.values()), ticktext=named)
    figure.update_xaxes(showgrid=False, zeroline=False)
    legend = {"x": 0.01, "y": 0.99, "bgcolor": "rgba(255, 255, 255, 0.7)", "itemsizing": "constant"}
    figure.update_layout(plot_bgcolor="white", showlegend=True, legend=legend)
    add_subtitle(
        figure,
        "Size of a node: recovery of the logit difference by it alone. Width of a line: by that direct path alone. "
        "Blue helps, orange works against",
    )
    return figure


def _said(table: Table, edge: Edge) -> str:
    """Return what is told of an edge under the pointer."""
    ends = f"{table['name'][edge.sender]} → {'logits' if edge.receiver == LOGITS else table['name'][edge.receiver]}"
    shares = f"total={edge.total:.3f}, direct={edge.direct:.3f}, through others={edge.through_others:.3f}"
    if edge.receiver == LOGITS:
        return hover(ends, f"Recovery: {shares}")
    return hover(ends, f"Recovery by this path alone={edge.edge:.3f}", f"Of the receiver's change: {shares}")


def _around_nodes(table: Table, frame: Frame, x: np.ndarray, y: np.ndarray) -> Labels:
    """Return a layout in which the nodes' names, right of them, have their places."""
    pixels = frame.pixels(x, y)
    layout = Labels(frame, pixels)
    for node, (left, top) in enumerate(pixels[:-1]):
        width, height = text_size(label(table, node))
        radius = _size(table["on_metric"][node]) / 2
        half = max(radius, height / 2)
        layout.placed.append((left - radius, top - half, left + radius + width, top + half))
    return layout


def _line(start: tuple[float, float], end: tuple[float, float], weight: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the points of a line between two nodes, curved where it goes upright: what helps to the left."""
    along = np.linspace(0, 1, 41)
    upright = abs(end[0] - start[0]) < 0.9
    bend = upright * 0.07 * max(0.0, end[1] - start[1] - 0.5) * (-1 if weight > 0 else 1)
    x = start[0] + (end[0] - start[0]) * along + bend * np.sin(np.pi * along)
    return x, start[1] + (end[1] - start[1]) * along


def _add_edge(figure: go.Figure, line: tuple[np.ndarray, np.ndarray], weight: float, said: str) -> None:
    """Add a line, as wide as its weight, that can be pointed at."""
    x, y = line
    width = max(1.0, WIDEST * look().scale * min(1.0, abs(weight)))
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": _color(weight), "width": width, "shape": "spline"},
            opacity=0.45,
            hovertemplate=said,
            showlegend=False,
        )
    )


def _add_number(figure: go.Figure, layout: Labels, line: tuple[np.ndarray, np.ndarray], weight: float) -> None:
    """Add a line's number on it, where it hides least."""
    text = f"{weight:.2f}".replace("-", "−")
    points = layout.frame.pixels(*line)[6:35]
    middle_first = points[np.argsort(np.abs(np.arange(len(points)) - len(points) // 2), kind="stable")]
    asides = look().scale * np.array([(0, 0), (16, 0), (-16, 0), (36, 0), (-36, 0)])
    left, top, right, bottom = layout.put(box_around(point + aside, text) for aside in asides for point in middle_first)
    font = {"size": 5 / 6 * look().font_size, "color": _color(weight)}
    add_text(
        figure,
        layout.frame,
        ((left + right) / 2, (top + bottom) / 2),
        text=text,
        font=font,
        bgcolor="rgba(255, 255, 255, 0.8)",
        borderpad=0,
    )


def _color(weight: float) -> str:
    return HELPS if weight >= 0 else AGAINST


def _size(effect: float) -> float:
    return look().scale * max(11.0, LARGEST * abs(float(effect)) ** 0.5)


def _add_paths_of_tokens(figure: go.Figure, table: Table, x: np.ndarray, y: np.ndarray) -> None:
    """Add dotted lines from a token to what it moves at its own position by way of others, not shown."""
    for sender in np.flatnonzero(table["site"] == "resid_pre"):
        there = (table["position"] == table["position"][sender]) & (table["site"] != "resid_pre")
        for receiver in np.flatnonzero(there & (np.abs(table["total"][sender]) >= MOVED)):
            total, direct = table["total"][sender, receiver], table["direct"][sender, receiver]
            ends = f"{label(table, int(sender))} → {label(table, int(receiver))}"
            said = hover(
                ends, f"Of its change: total={total:.3f}, direct={direct:.3f}, by way of others={total - direct:.3f}"
            )
            line = {"color": NEUTRAL, "width": 1.5, "dash": "dot"}
            points = {"x": x[[sender, receiver]], "y": y[[sender, receiver]]}
            figure.add_trace(go.Scatter(**points, mode="lines", line=line, hovertemplate=said, showlegend=False))


def _add_nodes(
    figure: go.Figure, table: Table, x: np.ndarray, y: np.ndarray, nodes: np.ndarray, kind: str, symbol: str
) -> None:
    if not len(nodes):
        return
    effect = table["on_metric"][nodes]
    names = [visible(label(table, int(node))) for node in nodes]
    tokens = [visible(tokens_at(table, int(position))) for position in table["position"][nodes]]
    figure.add_trace(
        go.Scatter(
            x=x[nodes],
            y=y[nodes],
            mode="markers+text",
            text=[f"<b>{name}</b>" for name in names],
            textposition="middle right",
            textfont={"size": look().font_size},
            showlegend=False,
            marker={
                "symbol": symbol,
                "color": [_color(value) for value in effect],
                "size": [_size(value) for value in effect],
                "opacity": 1,
                "line": {"color": "white", "width": 1.5},
            },
            hovertext=[f"{kind} {name} at {token}" for name, token in zip(names, tokens, strict=True)],
            customdata=np.column_stack([effect, table["direct_on_metric"][nodes]]),
            hovertemplate=hover(
                "%{hovertext}", "Recovery alone=%{customdata[0]:.3f}", "Directly to the logits=%{customdata[1]:.3f}"
            ),
        )
    )
    in_legend = {"symbol": symbol, "color": NEUTRAL, "size": 12 * look().scale}
    figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=in_legend, name=kind))


def _add_logits(figure: go.Figure, x: float, y: float, text: str) -> None:
    figure.add_trace(
        go.Scatter(
            x=[x],
            y=[y],
            mode="markers+text",
            text=[f"<b>{text}</b>"],
            textposition="middle right",
            marker={"symbol": "star", "size": 20 * look().scale, "color": REFERENCE_COLOR},
            showlegend=False,
            hoverinfo="skip",
        )
    )
