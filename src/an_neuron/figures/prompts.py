"""The figure of the logit lens."""

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import Frame, Labels, along, annotate, padded
from an_neuron.figures.style import MARK_COLOR, add_reference, empty_figure, hover
from an_neuron.files.hdf5 import Table
from an_neuron.files.look import look
from an_neuron.files.texts import visible


def logit_lens_fig(table: Table) -> go.Figure:
    """Draw the mean logit difference read from the residual stream at each half layer.

    Parameters
    ----------
    table
        x[point], mean_logit_difference[point], point_label[point], model_logit_difference[prompt_pair].
    """
    x, y = table["x"], table["mean_logit_difference"]
    own = float(np.nanmean(table["model_logit_difference"]))
    frame = Frame(padded(x, 0.02), padded(np.append(y, own), 0.12))
    figure = empty_figure("Logit Difference From Residual Stream", "Layer", "Logit Difference", frame)
    labels = [visible(label) for label in table["point_label"]]
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line_color=MARK_COLOR,
            hovertext=labels,
            hovertemplate=hover("<b>%{hovertext}</b>", "", "Layer=%{x}", "Logit Difference=%{y}"),
        )
    )
    layout = Labels(frame, along(frame.pixels(x, y)))
    add_reference(figure, layout, own, f"Model's own logit difference: {own:.2f}")
    mark = _peak(x, y) if look().titles == "notebook" else _largest_rise(x, y, table["point_label"])
    annotate(figure, layout, [mark])
    return figure


def _largest_rise(x: np.ndarray, y: np.ndarray, labels: np.ndarray) -> tuple[float, float, str]:
    """Return the point before which the curve rises most, and what writes there; points are "0_pre", "0_mid", …."""
    end = 1 + int(np.nanargmax(np.diff(y)))
    (layer, begins), (_, ends) = (str(label).split("_", 1) for label in labels[[end - 1, end]])
    part = "attention" if ends == "mid" else "MLP" if begins == "mid" else "block"
    return x[end], y[end], f"Largest rise: {y[end] - y[end - 1]:+.2f} by the {part} of layer {layer}"


def _peak(x: np.ndarray, y: np.ndarray) -> tuple[float, float, str]:
    """Return the highest point, as the original notebook marks it."""
    peak = int(np.nanargmax(y))
    verb = "spikes to" if 0 < peak < len(y) - 1 else "peaks at"
    return x[peak], y[peak], f"Logit Difference {verb} {y[peak]:.2f}"
