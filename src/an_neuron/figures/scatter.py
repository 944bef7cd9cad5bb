"""The scatter of a token's margin against a neuron's activation, red where the token is the top prediction."""

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.corpus import is_signed, margin_figure, prediction_counts
from an_neuron.figures.labels import MARGIN, Frame, Labels, add_box, padded
from an_neuron.figures.style import (
    TOP_PREDICTION_COLORS,
    add_subtitle,
    hover,
    limit,
    markers,
    state_thinning,
    thinned,
)
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import visible

ZOOMED_PIXEL = 0.2  # pixels between points that a browser may leave out, as one can zoom in


def logit_activation_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw a neuron's positive activations against a token's margin, in red where the token is the top prediction.

    A signed neuron's activations are drawn whatever their sign.

    With more than `STATIC_LIMIT` points (in a browser `BROWSER_LIMIT`) every red one is drawn, and of the blue ones
    that fall on the same spot one; where red ones alone are too many, one of each colour. The subtitle says how many.

    Parameters
    ----------
    table
        activation[row, pos], margin[row, pos], token_id[row, pos], vocabulary[d_vocab]; attributes layer, index,
        token, signed, top_predictions, occurrences.
    static
        Draw for a static file, not for a browser.
    """
    shown = (table["activation"] > 0) | is_signed(table.attributes)
    activation, margin = table["activation"][shown], table["margin"][shown]
    ids, red = table["token_id"][shown], margin > 0
    frame = Frame(padded(activation, 0.03), padded(margin, 0.05), {**MARGIN, "t": 80, "r": 140})
    figure = margin_figure(table.attributes, frame)
    pixels = frame.pixels(activation, margin)
    drawn = _drawn(figure, pixels, red, static)
    vocabulary = np.asarray([visible(text) for text in table["vocabulary"]], dtype=object)
    x_title, y_title = figure.layout.xaxis.title.text, figure.layout.yaxis.title.text
    for top in (False, True):  # red is drawn last, over the blue
        chosen = drawn & (red == top)
        lines = f"Top prediction={top}", f"{x_title}=%{{x}}", f"{y_title}=%{{y}}"
        options = {
            "name": str(top),
            "marker_color": TOP_PREDICTION_COLORS[top],
            "hovertext": vocabulary[ids[chosen]],
            "hovertemplate": hover("<b>%{hovertext}</b>", "", *lines),
        }
        figure.add_trace(markers(activation[chosen], margin[chosen], static, len(margin), **options))
    figure.update_layout(showlegend=True, legend_title_text="Top prediction")
    add_box(figure, Labels(frame, pixels), prediction_counts(table.attributes))
    return figure


def _drawn(figure: go.Figure, pixels: np.ndarray, red: np.ndarray, static: bool) -> np.ndarray:
    """Choose the points to be drawn, [n] booleans, and state how many there are."""
    most, square = limit(static), 1.0 if static else ZOOMED_PIXEL
    if len(red) <= most:
        add_subtitle(figure, f"all {len(red):,} points drawn" if len(red) else "no activation is positive")
        return np.ones(len(red), dtype=bool)
    if red.sum() <= most // 2:
        drawn, how = (
            thinned(pixels, red, most, square=square),
            "all red ones, and one of the blue ones wherever they overlap",
        )
    else:
        drawn, how = np.empty(len(red), dtype=bool), "one of each colour wherever they overlap"
        for chosen in (red, ~red):
            drawn[chosen] = thinned(pixels[chosen], np.zeros(chosen.sum(), dtype=bool), most // 2, square=square)
    state_thinning(figure, drawn, how)
    return drawn
