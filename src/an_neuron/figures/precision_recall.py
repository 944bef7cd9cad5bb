"""Precision and recall of "activation > threshold", or "<", as a predictor of the top prediction."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.corpus.thresholds import f1_score
from an_neuron.figures.corpus import ROOM, add_base_rate, is_signed, never_active, say, traced
from an_neuron.figures.labels import Frame, Labels, along, annotate, padded
from an_neuron.figures.style import CELL_ARROW_COLOR, MARK_COLOR, REFERENCE_COLOR, add_subtitle, empty_figure
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_and_token

LINES = {"Precision": (MARK_COLOR, 2), "Recall": (CELL_ARROW_COLOR, 2), "F1": (REFERENCE_COLOR, 1)}  # colour and width


def precision_recall_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw precision and recall of "activation > threshold" as a predictor that the token is the top prediction.

    Of a signed neuron those of "activation < threshold" where that tells more; title and labels say which.

    Parameters
    ----------
    table
        threshold[threshold], precision[threshold], recall[threshold]; attributes layer, index, token, top_predictions,
        n_tokens, signed, direction, thresholds, best_threshold, best_precision, best_recall, best_f1.
    static
        Draw for a static file; a browser shows all three values of a threshold under the pointer.
    """
    attributes, threshold = table.attributes, table["threshold"]
    neuron, token = neuron_and_token(attributes)
    frame = Frame(padded(threshold, 0.03), (-0.04, 1.06), ROOM)
    what, how = f"{neuron} activation", f" {_sign(attributes)} t" if is_signed(attributes) else ""
    title = f'Precision and recall of {what}{how} for top prediction "{token}"'
    figure = empty_figure(title, f"Threshold{' t' if how else ''} of {what}", "Precision and recall", frame)
    if not attributes["top_predictions"]:
        never = f'"{token}" is nowhere the top prediction among {attributes["n_tokens"]:,} tokens: nothing to predict.'
        return say(figure, never)
    if len(threshold) < 2:
        return say(figure, never_active(attributes))
    values = {"Precision": table["precision"], "Recall": table["recall"]}
    values["F1"] = f1_score(table["precision"], table["recall"])
    for name, (color, width) in LINES.items():
        line = {"color": color, "width": width, "shape": "hv"}  # a threshold counts up to the next one
        template = f"{name}=%{{y:.3f}}<extra></extra>"
        figure.add_trace(
            go.Scatter(x=threshold, y=values[name], mode="lines", name=name, line=line, hovertemplate=template)
        )
    figure.update_layout(showlegend=True, hovermode=None if static else "x unified")
    add_subtitle(figure, f"Thresholds: {attributes['thresholds']}; {len(threshold):,} drawn")
    layout = Labels(frame, np.vstack([traced(frame, *_steps(threshold, y)) for y in values.values()]))
    _add_best(figure, layout, attributes)
    return figure


def _steps(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of a line of steps: each value holds up to the next threshold."""
    return np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]


def _sign(attributes: Mapping[str, Any]) -> str:
    """Return how activation and threshold are compared."""
    return "&lt;" if attributes.get("direction") == "below" else ">"


def _add_best(figure: go.Figure, layout: Labels, attributes: Mapping[str, Any]) -> None:
    """Mark the threshold of the largest F1, if there is one, and the base rate."""
    best, f1 = float(attributes["best_threshold"]), float(attributes["best_f1"])
    if np.isnan(best):
        return add_base_rate(figure, layout, attributes)
    bottom, top = layout.frame.y_range
    layout.obstacles = np.vstack([layout.obstacles, along(layout.frame.pixels([best, best], [top, bottom]))])
    figure.add_vline(x=best, line_dash="dash", line_color=REFERENCE_COLOR, line_width=1)
    add_base_rate(figure, layout, attributes)
    precision, recall = float(attributes["best_precision"]), float(attributes["best_recall"])
    text = (
        f"Best F1 {f1:.3f}: activation {_sign(attributes)} {best:.4g}<br>precision {precision:.3f}, recall {recall:.3f}"
    )
    return annotate(figure, layout, [(best, f1, text)], standoff=2)
