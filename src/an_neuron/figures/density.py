"""A token's margin against a neuron's activation, where the corpus pass kept counts instead of every value."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.corpus import ROOM, active_tokens, is_signed, margin_figure, never_active, prediction_counts, say
from an_neuron.figures.labels import BOX_LARGER, Frame, Labels, add_box, padded
from an_neuron.figures.style import REFERENCE_COLOR, TOP_PREDICTION_COLORS, add_subtitle, hover
from an_neuron.files.hdf5 import Table
from an_neuron.files.look import look

DENSITY_SCALES = {
    False: ((0.0, "#b8c0ff"), (0.5, "#0000ff"), (1.0, "#000045")),
    True: ((0.0, "#ffb3b3"), (0.5, "#ff0000"), (1.0, "#4a0000")),
}
LEAST_PIXELS = 5.0  # of a bin that is drawn; finer ones would show the jumps of the bins' width as jumps of colour
Tiles = tuple[np.ndarray, np.ndarray, np.ndarray]  # activation edges, margin edges, counts between them


def density_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw a neuron's positive activations against a token's margin as counts in bins, red for top predictions.

    Of a signed neuron activations of either sign are drawn. Bins that are narrow on the figure are joined.

    Parameters
    ----------
    table
        density[activation_bin, margin_bin], activation_edge[activation_edge], margin_edge[margin_edge]; attributes
        layer, index, token, signed, top_predictions, occurrences.
    static
        Draw for a static file, not for a browser: the same, but it is called like the figure in whose place it stands.
    """
    x, y, count = (table[name].astype(float) for name in ("activation_edge", "margin_edge", "density"))
    shown = (x >= 0) | is_signed(table.attributes)
    x, count = x[shown], count[shown[:-1]]
    frame = Frame(padded(x, 0.03), padded(np.append(y, 0), 0.05), ROOM)
    figure = margin_figure(table.attributes, frame)
    if not count.sum():
        return say(figure, never_active(table.attributes))
    drawn, highest = [], 1.0
    for top in (False, True):
        side = np.flatnonzero(y >= 0 if top else y <= 0)
        if len(side) > 1:
            part = _joined(frame, x, y[side], count[:, side[0] : side[-1]], LEAST_PIXELS)
            figure.add_trace(_tiles(*part, top, figure.layout))
            drawn.append(_corners(frame, *part))
            highest = max(highest, float(np.log10(part[2].max() or 1)))
    _style_density(figure, highest)
    tokens = active_tokens(table.attributes, int(count.sum()))
    add_subtitle(figure, f"{tokens}, counted in bins that widen with the value")
    add_box(figure, Labels(frame, np.vstack(drawn)), prediction_counts(table.attributes))
    return figure


def _joined(frame: Frame, x: np.ndarray, y: np.ndarray, count: np.ndarray, least: float) -> Tiles:
    """Join neighbouring bins until none is narrower than some pixels; return edges of both kinds and the counts."""
    across = _kept_edges(frame.pixels(x, np.zeros_like(x))[:, 0], least)
    up = _kept_edges(-frame.pixels(np.zeros_like(y), y)[:, 1], least)
    joined = np.add.reduceat(np.add.reduceat(count, across[:-1], axis=0), up[:-1], axis=1)
    return x[across], y[up], joined


def _kept_edges(pixels: np.ndarray, least: float) -> np.ndarray:
    """Return which of the ascending edges remain, among them the first and the last."""
    kept = [0]
    for number in range(1, len(pixels) - 1):
        if min(pixels[number] - pixels[kept[-1]], pixels[-1] - pixels[number]) >= least:
            kept.append(number)
    return np.array([*kept, len(pixels) - 1])


def _tiles(x: np.ndarray, y: np.ndarray, count: np.ndarray, top: bool, titles: Any) -> go.Heatmap:
    """Return the bins to one side of margin 0, coloured by the logarithm of their count."""
    low_x, low_y = np.meshgrid(x[:-1], y[:-1])
    high_x, high_y = np.meshgrid(x[1:], y[1:])
    lines = (
        f"Top prediction={top}",
        "%{customdata[0]:.4g} < " + titles.xaxis.title.text + " <= %{customdata[1]:.4g}",
        "%{customdata[2]:.4g} < " + titles.yaxis.title.text + " <= %{customdata[3]:.4g}",
        "Tokens=%{customdata[4]:,}",
    )
    with np.errstate(divide="ignore"):
        exponent = np.where(count > 0, np.log10(count), np.nan).T
    return go.Heatmap(
        x=x,
        y=y,
        z=exponent,
        coloraxis="coloraxis2" if top else "coloraxis",
        customdata=np.stack([low_x, high_x, low_y, high_y, count.T], axis=-1),
        hoverongaps=False,
        hovertemplate=hover(*lines),
    )


def _corners(frame: Frame, x: np.ndarray, y: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return where the bins that hold something have their middles and corners, [n, 2] pixels."""
    across, up = np.nonzero(count)
    part = (0.0, 0.5, 1.0)
    return np.vstack(
        [frame.pixels(x[across] + i * np.diff(x)[across], y[up] + j * np.diff(y)[up]) for i in part for j in part]
    )


def _style_density(figure: go.Figure, highest: float) -> None:
    """Set the colours of both sides, their bars beside each other with one set of ticks, and the line at margin 0."""
    exponents = np.arange(int(highest) + 1)
    bar = {"len": 0.7, "y": 0, "yanchor": "bottom", "ypad": 0, "xpad": 0, "thickness": 14, "tickvals": exponents}
    bar["ticktext"] = [f"{10 ** int(exponent):,}" for exponent in exponents]
    for top, axis, place in ((False, "coloraxis", 1.015), (True, "coloraxis2", 1.035)):
        own = {**bar, "x": place, "showticklabels": top}
        scale = {"colorscale": DENSITY_SCALES[top], "cmin": 0, "cmax": highest, "colorbar": own}
        figure.update_layout({axis: scale})
        key = {"color": TOP_PREDICTION_COLORS[top], "symbol": "square", "size": 9}
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", name=str(top), marker=key))
    figure.update_layout(showlegend=True, legend_title_text="Top prediction")
    title = {"text": "Tokens in a bin", "x": 1.01, "y": 0.72, "xanchor": "left", "yanchor": "bottom"}
    figure.add_annotation(xref="paper", yref="paper", showarrow=False, font_size=BOX_LARGER * look().font_size, **title)
    figure.update_yaxes(zeroline=False)
    figure.add_hline(y=0, line_color=REFERENCE_COLOR, line_width=1)
