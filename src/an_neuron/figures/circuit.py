"""The circuit: tokens, heads and neurons by layer and position, and what they do to each other."""

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.circuit_layout import (
    DRAWN,
    KINDS,
    LOGITS,
    Edge,
    all_edges,
    columns_of,
    label,
    places,
    tokens_at,
)
from an_neuron.figures.labels import FONT_SIZE, MARGIN, Frame
from an_neuron.figures.style import REFERENCE_COLOR, add_subtitle, empty_figure, hover
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import visible

MARKERS = {"resid_pre": ("square", "#8c8c8c"), "z": ("diamond", "#e69f00"), "post": ("circle", "#0072b2")}
POSITIVE, NEGATIVE = "#009e73", "#d55e00"  # which the colour-blind tell apart
WIDEST, LARGEST = 14.0, 34.0


def circuit_fig(table: Table) -> go.Figure:
    """Draw the nodes of circuit/circuit.h5, sized by effect, and the direct effects between them.

    Parameters
    ----------
    table
        circuit/circuit.h5.
    """
    x, y = places(table)
    columns = columns_of(table)
    answer, foil = (visible(table.attributes[name]) for name in ("answer", "foil"))
    top = float(y[-1]) + 0.8
    frame = Frame((-0.6, len(columns) - 0.1), (-0.8, top), {**MARGIN, "t": 90, "b": 80, "l": 80})
    figure = empty_figure("The Circuit: What Tokens, Heads and Neurons Do Directly", "Position", "Layer", frame)
    for edge in reversed(all_edges(table)):  # the strongest on top
        if abs(edge.edge) >= DRAWN:
            start, end = ((x[node], y[node]) for node in (edge.sender, edge.receiver))
            _add_edge(figure, start, end, edge.edge, _said(table, edge))
    for site in KINDS:
        _add_nodes(figure, table, x, y, site)
    _add_logits(figure, x[-1], y[-1], f"{answer} − {foil}")
    layers = sorted({*table["layer"].tolist()})
    figure.update_yaxes(tickvals=[*range(len(layers))], ticktext=[str(layer) for layer in layers])
    figure.update_yaxes(showgrid=True, gridcolor="#e6e6e6", zeroline=False)
    figure.update_xaxes(
        tickvals=list(range(len(columns))), ticktext=[visible(tokens_at(table, each)) for each in columns]
    )
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_layout(plot_bgcolor="white", showlegend=True, legend_title_text="")
    add_subtitle(
        figure,
        "Size: recovery of the logit difference by a node alone. Line: by the direct path from one to the other alone; "
        "green helps, dashed red works against",
    )
    return figure


def _said(table: Table, edge: Edge) -> str:
    """Return what is told of an edge under the pointer."""
    if edge.receiver == LOGITS:
        measured = f"Recovery: total={edge.total:.3f}, direct={edge.direct:.3f}"
        return hover(f"{table['name'][edge.sender]} → logits", f"{measured}, through others={edge.through_others:.3f}")
    return hover(
        f"{table['name'][edge.sender]} → {table['name'][edge.receiver]}",
        f"Recovery by this path alone={edge.edge:.3f}",
        f"Of the receiver's change: total={edge.total:.3f}, direct={edge.direct:.3f}, "
        f"through others={edge.through_others:.3f}",
    )


def _add_edge(
    figure: go.Figure, start: tuple[float, float], end: tuple[float, float], weight: float, said: str
) -> None:
    """Add a curved line, as wide as its weight, whose middle can be pointed at."""
    along = np.linspace(0, 1, 21)
    bend = 0.12 * (end[1] - start[1]) * (1 if abs(end[0] - start[0]) < 0.4 else 0)
    x = start[0] + (end[0] - start[0]) * along + bend * np.sin(np.pi * along) * 0.6
    y = start[1] + (end[1] - start[1]) * along
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={
                "color": POSITIVE if weight > 0 else NEGATIVE,
                "dash": "solid" if weight > 0 else "dash",
                "width": max(1.0, min(WIDEST, WIDEST * abs(weight))),
            },
            opacity=0.55,
            hovertemplate=said,
            showlegend=False,
        )
    )


def _add_nodes(figure: go.Figure, table: Table, x: np.ndarray, y: np.ndarray, site: str) -> None:
    nodes = np.flatnonzero(table["site"] == site)
    if not len(nodes):
        return
    effect = table["on_metric"][nodes]
    names = [visible(label(table, int(node))) for node in nodes]
    tokens = [visible(tokens_at(table, int(position))) for position in table["position"][nodes]]
    symbol, color = MARKERS[site]
    figure.add_trace(
        go.Scatter(
            x=x[nodes],
            y=y[nodes],
            mode="markers+text",
            text=names,
            textposition="middle right" if site == "resid_pre" else "bottom center",
            textfont={"size": FONT_SIZE},
            name=KINDS[site],
            marker={
                "symbol": symbol,
                "color": color,
                "size": np.maximum(10, LARGEST * np.sqrt(np.abs(effect))),
                "line": {"color": "white", "width": 1.5},
            },
            hovertext=[f"{name} at {token}" for name, token in zip(names, tokens, strict=True)],
            customdata=np.column_stack([effect, table["direct_on_metric"][nodes]]),
            hovertemplate=hover(
                "%{hovertext}", "Recovery alone=%{customdata[0]:.3f}", "Directly to the logits=%{customdata[1]:.3f}"
            ),
        )
    )


def _add_logits(figure: go.Figure, x: float, y: float, text: str) -> None:
    figure.add_trace(
        go.Scatter(
            x=[x],
            y=[y],
            mode="markers+text",
            text=[f"logit difference {text}"],
            textposition="middle right",
            marker={"symbol": "star", "size": 18, "color": REFERENCE_COLOR},
            showlegend=False,
            hoverinfo="skip",
        )
    )
