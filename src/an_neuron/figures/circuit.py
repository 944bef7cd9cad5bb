"""The circuit: tokens, heads and neurons by layer and position, and what they do to each other."""

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import FONT_SIZE, MARGIN, Frame
from an_neuron.figures.style import REFERENCE_COLOR, add_subtitle, empty_figure, hover
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import visible
from an_neuron.patching.circuit_files import edges

KINDS = {
    "resid_pre": ("token", "square", "#8c8c8c"),
    "z": ("attention head", "diamond", "#e69f00"),
    "post": ("neuron", "circle", "#0072b2"),
}
POSITIVE, NEGATIVE = "#2b8a3e", "#c92a2a"
SHOWN = 0.02
"""The least recovery by an edge alone that is drawn."""
WIDEST, LARGEST = 14.0, 34.0
ROOM = 1.0
LOGITS = "logits"


def circuit_fig(table: Table) -> go.Figure:
    """Draw the nodes of circuit/circuit.h5, sized by effect, and the direct effects between them.

    Parameters
    ----------
    table
        circuit/circuit.h5.
    """
    x, y = places(table)
    columns = sorted({*table["position"].tolist()})
    answer, foil = (visible(table.attributes[name]) for name in ("answer", "foil"))
    top = float(y[-1]) + 0.8
    frame = Frame((-0.6, len(columns) - 0.1), (-0.8, top), {**MARGIN, "t": 90, "b": 80, "l": 80})
    figure = empty_figure("The Circuit: What Tokens, Heads and Neurons Do Directly", "Position", "Layer", frame)
    for sender, receiver, weight, said in _drawn_edges(table):
        _add_edge(figure, (x[sender], y[sender]), (x[receiver], y[receiver]), weight, said)
    for site, (kind, symbol, color) in KINDS.items():
        _add_nodes(figure, table, x, y, table["site"] == site, kind, symbol, color)
    _add_logits(figure, x[-1], y[-1], f"{answer} − {foil}")
    ticks = sorted({(float(height), int(layer)) for height, layer in zip(y, table["layer"], strict=False)})
    figure.update_yaxes(tickvals=[height for height, _ in ticks], ticktext=[str(layer) for _, layer in ticks])
    figure.update_yaxes(showgrid=True, gridcolor="#e6e6e6", zeroline=False)
    figure.update_xaxes(tickvals=list(range(len(columns))), ticktext=[_tokens(table, each) for each in columns])
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_layout(plot_bgcolor="white", showlegend=True, legend_title_text="")
    add_subtitle(
        figure,
        "Size: recovery of the logit difference by a node alone. Line: by the direct path from one to the other alone; "
        "green helps, red works against",
    )
    return figure


def places(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return where the nodes stand, and at last the logits: positions in columns, layers that have nodes one by one."""
    columns, layers = sorted({*table["position"].tolist()}), sorted({*table["layer"].tolist()})
    x, y = np.zeros(len(table["name"]) + 1), np.zeros(len(table["name"]) + 1)
    for position in columns:
        for height, layer in enumerate(layers):
            here = np.flatnonzero((table["position"] == position) & (table["layer"] == layer))
            left = np.lexsort((table["index"][here], table["site"][here] == "post"))
            apart = min(0.26, 0.8 / max(1, len(here)))
            for place, node in enumerate(here[left]):
                x[node] = columns.index(position) + apart * (place - (len(here) - 1) / 2)
                y[node] = height + (0.25 if table["site"][node] == "post" and len({*table["site"][here]}) > 1 else 0)
    x[-1], y[-1] = columns.index(max(columns)), len(layers) - 1 + ROOM
    return x, y


def _drawn_edges(table: Table) -> list[tuple[int, int, float, str]]:
    """Return sender, receiver (-1 for the logits), weight and hover text of each edge, the weakest first."""
    drawn = []
    for sender, receiver in edges(table):
        values = {name: float(table[name][sender, receiver]) for name in ("edge", "direct", "total")}
        ends = f"{table['name'][sender]} → {table['name'][receiver]}"
        others = values["total"] - values["direct"]
        said = hover(
            ends,
            f"Recovery by this path alone={values['edge']:.3f}",
            f"Of the receiver's change: total={values['total']:.3f}, direct={values['direct']:.3f}, "
            f"through others={others:.3f}",
        )
        drawn.append((sender, receiver, values["edge"], said))
    for sender, (total, direct) in enumerate(zip(table["on_metric"], table["direct_on_metric"], strict=True)):
        said = hover(
            f"{table['name'][sender]} → {LOGITS}",
            f"Recovery: total={total:.3f}, direct={direct:.3f}, through others={total - direct:.3f}",
        )
        drawn.append((sender, -1, float(direct), said))
    return sorted((each for each in drawn if abs(each[2]) >= SHOWN), key=lambda each: abs(each[2]))


def _add_edge(
    figure: go.Figure, start: tuple[float, float], end: tuple[float, float], weight: float, said: str
) -> None:
    """Add a curved line, as wide as its weight, whose middle can be pointed at."""
    along = np.linspace(0, 1, 21)
    bend = 0.12 * (end[1] - start[1]) * (1 if abs(end[0] - start[0]) < 0.4 else 0)
    x = start[0] + (end[0] - start[0]) * along + bend * np.sin(np.pi * along) * 0.6
    y = start[1] + (end[1] - start[1]) * along
    color = POSITIVE if weight > 0 else NEGATIVE
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line={"color": color, "width": max(1.0, min(WIDEST, WIDEST * abs(weight)))},
            opacity=0.55,
            hovertemplate=said,
            showlegend=False,
        )
    )


def _add_nodes(
    figure: go.Figure, table: Table, x: np.ndarray, y: np.ndarray, which: np.ndarray, kind: str, symbol: str, color: str
) -> None:
    nodes = np.flatnonzero(which)
    if not len(nodes):
        return
    effect = table["on_metric"][nodes]
    names = [_label(table, int(node)) for node in nodes]
    tokens = [_tokens(table, int(position)) for position in table["position"][nodes]]
    figure.add_trace(
        go.Scatter(
            x=x[nodes],
            y=y[nodes],
            mode="markers+text",
            text=names,
            textposition="middle right" if kind == "token" else "bottom center",
            textfont={"size": FONT_SIZE},
            name=kind,
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


def _label(table: Table, node: int) -> str:
    if table["site"][node] == "resid_pre":
        return visible(table["clean_token"][node])
    return f"{table['layer'][node]}.{table['index'][node]}"


def _tokens(table: Table, position: int) -> str:
    """Return the tokens at a position: the clean one, and the corrupted one where it differs."""
    node = int(np.flatnonzero(table["position"] == position)[0])
    clean, corrupted = (visible(table[f"{kind}_token"][node]) for kind in ("clean", "corrupted"))
    return clean if clean == corrupted else f"{clean} / {corrupted}"
