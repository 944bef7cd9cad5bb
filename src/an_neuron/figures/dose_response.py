"""The logit difference against the studied neuron's activation."""

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import MARGIN, Frame, padded
from an_neuron.figures.style import REFERENCE_COLOR, empty_figure, hover
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name, visible

COLORS = {"clean": "#0072b2", "corrupted": "#d55e00"}


def dose_response_fig(table: Table) -> go.Figure:
    """Draw the logit difference of clean and corrupted prompts against the activation, and where both really are.

    Parameters
    ----------
    table
        circuit/dose_response.h5.
    """
    neuron = neuron_name(table.attributes["neuron_layer"], table.attributes["neuron_index"])
    answer, foil = (visible(table.attributes[name]) for name in ("answer", "foil"))
    values = np.concatenate([table["in_clean"].ravel(), table["in_corrupted"].ravel()])
    frame = Frame(padded(table["value"], 0.02), padded(values, 0.08), {**MARGIN, "r": 170})
    figure = empty_figure(
        f"Logit Difference by the Activation of {neuron}",
        f"Activation of {neuron} at the last position, set by hand",
        f"Logit of '{answer}' − logit of '{foil}'",
        frame,
    )
    figure.add_hline(y=0, line_color=REFERENCE_COLOR, line_width=1, line_dash="dash")
    for end, color in COLORS.items():
        _add_curves(figure, table, end, color)
    figure.update_layout(showlegend=True)
    return figure


def _add_curves(figure: go.Figure, table: Table, end: str, color: str) -> None:
    for number, curve in enumerate(table[f"in_{end}"]):
        figure.add_trace(
            go.Scatter(
                x=table["value"],
                y=curve,
                mode="lines",
                line={"color": color, "width": 2},
                name=f"{end} prompt",
                showlegend=number == 0,
                hovertemplate=hover("Activation=%{x:.3f}", "Logit difference=%{y:.3f}"),
            )
        )
    figure.add_trace(
        go.Scatter(
            x=table[f"{end}_activation"],
            y=table[end],
            mode="markers",
            marker={"color": color, "size": 11, "line": {"color": "white", "width": 1.5}},
            name=f"{end}, as it is",
            hovertemplate=hover("Activation as it is=%{x:.3f}", "Logit difference=%{y:.3f}"),
        )
    )
