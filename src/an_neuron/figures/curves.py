"""What the best neurons and heads do together, by their number."""

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import MARGIN, Frame
from an_neuron.figures.style import REFERENCE_COLOR, add_subtitle, empty_figure, hover
from an_neuron.files.hdf5 import Table

RANKINGS = {"exact": "solid", "attribution": "dash", "greedy": "dot"}
COLORS = {"neurons": "#0072b2", "heads": "#e69f00", "neurons and heads": "#009e73"}
PARTS = {"held_out": "held-out prompt pairs", "main": "main prompt pairs"}
TITLES = {
    "recovery": ("Recovery by the Best Neurons and Heads Together", "Recovery"),
    "faithfulness": ("Faithfulness of the Best Neurons and Heads Alone", "Faithfulness"),
}


def curves_fig(table: Table, measure: str) -> go.Figure:
    """Draw a measure against the number of nodes, on held-out prompt pairs where there are some.

    Parameters
    ----------
    table
        circuit/curves.h5.
    measure
        One of `TITLES`.
    """
    part = next(part for part in PARTS if (table["part"] == part).any())
    means = table[measure][:, table["part"] == part].mean(1)
    title, y_title = TITLES[measure]
    low, high = min(-0.1, float(means.min()) - 0.1), max(1.15, float(means.max()) + 0.1)
    frame = Frame((-0.15, float(np.log10(table["k"].max())) + 0.1), (low, high), {**MARGIN, "r": 240, "t": 80})
    figure = empty_figure(title, "Number of neurons, heads, or both", y_title, frame)
    for level in (0, 1):
        figure.add_hline(y=level, line_color=REFERENCE_COLOR, line_width=1, line_dash="dash")
    for kind, color in COLORS.items():
        for ranking, dash in RANKINGS.items():
            rows = np.flatnonzero((table["kind"] == kind) & (table["ranking"] == ranking) & (table["k"] > 0))
            _add_curve(figure, table, means, rows, f"{kind}, {ranking}", color, dash)
    figure.update_xaxes(type="log", tickvals=[10**power for power in range(6)], ticktext=_powers(), zeroline=False)
    figure.update_layout(showlegend=True, legend_title_text="Nodes, and their ranking")
    number = int((table["part"] == part).sum())
    add_subtitle(
        figure, f"Mean over {number} {PARTS[part]}" if number > 1 else f"On one {PARTS[part].removesuffix('s')}"
    )
    return figure


def _add_curve(
    figure: go.Figure, table: Table, means: np.ndarray, rows: np.ndarray, name: str, color: str, dash: str
) -> None:
    if not len(rows):
        return
    last = [", ".join(filter(None, table["first"][row])) for row in rows]
    figure.add_trace(
        go.Scatter(
            x=table["k"][rows],
            y=means[rows],
            mode="lines+markers",
            name=name,
            line={"color": color, "dash": dash, "width": 2},
            marker={"size": 5},
            hovertext=last,
            hovertemplate=hover(f"{name}: %{{x}}", "%{y:.3f}", "%{hovertext}"),
        )
    )


def _powers() -> list[str]:
    return [f"{10**power:,}" for power in range(6)]
