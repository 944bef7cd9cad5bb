"""Figures of one association of a token and a neuron over a corpus: how well the neuron tells that the token is predicted.

Each function takes the table of an association, activations/{association}.h5, and returns a plotly figure, laid out for the size of
the static files. Red is where the token is the model's top prediction, blue where it is not, as in
`figures.logit_activation_fig`.

| function | what it shows |
| --- | --- |
| `top_prediction_fig` | the proportion of top predictions by bin of activation |
| `precision_recall_fig` | precision and recall of "activation > threshold" |
| `density_fig` | the margin against the activation, where the corpus pass kept counts instead of every value |
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.corpus.thresholds import f1_score
from an_neuron.figures.labels import (
    LABEL_BACKGROUND,
    MARGIN,
    Frame,
    Labels,
    add_box,
    along,
    annotate,
    padded,
    text_size,
)
from an_neuron.figures.style import (
    CELL_ARROW_COLOR,
    MARK_COLOR,
    REFERENCE_COLOR,
    TOP_PREDICTION_COLORS,
    add_reference,
    add_subtitle,
    empty_figure,
    hover,
    margin_figure,
    prediction_counts,
)
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_and_token

BAR_COLORS = {False: "rgba(0, 0, 255, 0.25)", True: TOP_PREDICTION_COLORS[True]}  # intervals must be seen on the blue
COUNT_COLOR = "#687187"
ROOM = {**MARGIN, "t": 80, "r": 140}  # for a subtitle and a legend
COUNTS_HEIGHT, GAP = 72, 10  # pixels: the panel of counts above the bars
NORMAL_95 = 1.959964  # standard deviations to each side
NEVER_ACTIVE = "The neuron is never active: no activation is positive."

LINES = {"Precision": (MARK_COLOR, 2), "Recall": (CELL_ARROW_COLOR, 2), "F1": (REFERENCE_COLOR, 1)}  # colour and width

DENSITY_SCALES = {
    False: ((0.0, "#b8c0ff"), (0.5, "#0000ff"), (1.0, "#000045")),
    True: ((0.0, "#ffb3b3"), (0.5, "#ff0000"), (1.0, "#4a0000")),
}
LEAST_PIXELS = 5.0  # of a bin that is drawn; finer ones would show the jumps of the bins' width as jumps of colour

Tiles = tuple[np.ndarray, np.ndarray, np.ndarray]  # activation edges, margin edges, counts between them


def top_prediction_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw for each bin of positive activation how often the token is the top prediction, with 95 % Wilson intervals.

    Parameters
    ----------
    table
        bin_edge[edge], bin_count[bin, is_top]; attributes layer, index, token, top_predictions, n_tokens.
    static
        Draw for a static file, where each bin's count is written out; in a browser it is under the pointer.
    """
    edges, counts = table["bin_edge"].astype(float), table["bin_count"]
    neuron, token = neuron_and_token(table.attributes)
    ranges = padded(edges, 0.02), (-0.02, 1.04)
    title = f'Top predictions of "{token}" by {neuron} activation'
    axes = f"{neuron} activation", _fitting("Proportion with top prediction", f'"{token}"')
    figure = empty_figure(title, *axes, Frame(*ranges, ROOM))
    if not counts.sum():
        return _say(figure, NEVER_ACTIVE)
    middles, totals = (edges[:-1] + edges[1:]) / 2, counts.sum(axis=1)
    intervals = wilson_interval(counts[:, 1], totals)
    for top in (True, False):
        figure.add_trace(_bars(edges, counts, intervals, top))
    figure.add_trace(_intervals(middles, counts, intervals))
    _add_counts(figure, edges, totals, static)
    add_subtitle(figure, f"{totals.sum():,} tokens with positive activation; with 95 % Wilson intervals")
    figure.update_layout(
        barmode="stack", showlegend=True, legend_title_text="Top prediction", legend_traceorder="reversed"
    )
    frame = Frame(*ranges, {**ROOM, "t": ROOM["t"] + COUNTS_HEIGHT + GAP})
    obstacles = [_along(frame, np.array([x, x]), np.array(ends)) for x, *ends in zip(middles, *intervals, strict=True)]
    _add_base_rate(figure, Labels(frame, np.vstack(obstacles)), table.attributes)
    return figure


def precision_recall_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw precision and recall of "activation > threshold" as a predictor that the token is the top prediction.

    Parameters
    ----------
    table
        threshold[threshold], precision[threshold], recall[threshold]; attributes layer, index, token, top_predictions,
        n_tokens, thresholds, best_threshold, best_precision, best_recall, best_f1.
    static
        Draw for a static file; a browser shows all three values of a threshold under the pointer.
    """
    attributes, threshold = table.attributes, table["threshold"]
    neuron, token = neuron_and_token(attributes)
    frame = Frame(padded(threshold, 0.03), (-0.04, 1.06), ROOM)
    title = f'Precision and recall of {neuron} activation for top prediction "{token}"'
    figure = empty_figure(title, f"Threshold of {neuron} activation", "Precision and recall", frame)
    if not attributes["top_predictions"]:
        never = f'"{token}" is nowhere the top prediction among {attributes["n_tokens"]:,} tokens: nothing to predict.'
        return _say(figure, never)
    if len(threshold) < 2:
        return _say(figure, NEVER_ACTIVE)
    values = {"Precision": table["precision"], "Recall": table["recall"]}
    values["F1"] = f1_score(table["precision"], table["recall"])
    for name, (color, width) in LINES.items():
        line = {"color": color, "width": width}
        template = f"{name}=%{{y:.3f}}<extra></extra>"
        figure.add_trace(
            go.Scatter(x=threshold, y=values[name], mode="lines", name=name, line=line, hovertemplate=template)
        )
    figure.update_layout(showlegend=True, hovermode=None if static else "x unified")
    add_subtitle(figure, f"Thresholds: {attributes['thresholds']}; {len(threshold):,} drawn")
    layout = Labels(frame, np.vstack([_along(frame, threshold, y) for y in values.values()]))
    _add_best(figure, layout, attributes)
    return figure


def density_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw a neuron's positive activations against a token's margin as counts in bins, red for top predictions.

    Bins that are narrow on the figure are joined.

    Parameters
    ----------
    table
        density[activation_bin, margin_bin], activation_edge[activation_edge], margin_edge[margin_edge]; attributes
        layer, neuron, token, top_predictions, occurrences.
    static
        Draw for a static file, not for a browser: the same, but it is called like the figure in whose place it stands.
    """
    x, y, count = (table[name].astype(float) for name in ("activation_edge", "margin_edge", "density"))
    positive = x >= 0
    x, count = x[positive], count[positive[:-1]]
    frame = Frame(padded(x, 0.03), padded(np.append(y, 0), 0.05), ROOM)
    figure = margin_figure(table.attributes, frame)
    if not count.sum():
        return _say(figure, NEVER_ACTIVE)
    drawn, highest = [], 1.0
    for top in (False, True):
        side = np.flatnonzero(y >= 0 if top else y <= 0)
        if len(side) > 1:
            part = _joined(frame, x, y[side], count[:, side[0] : side[-1]], LEAST_PIXELS)
            figure.add_trace(_tiles(*part, top, figure.layout))
            drawn.append(_corners(frame, *part))
            highest = max(highest, float(np.log10(part[2].max() or 1)))
    _style_density(figure, highest)
    tokens = f"{int(count.sum()):,} tokens with positive activation"
    add_subtitle(figure, f"{tokens}, counted in bins that widen with the value")
    add_box(figure, Labels(frame, np.vstack(drawn)), prediction_counts(table.attributes))
    return figure


def wilson_interval(hits: np.ndarray, totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the 95 % Wilson intervals of the proportions hits / totals; NaN where there is nothing.

    Unlike hits / totals plus or minus its standard error, it stays inside 0 to 1 and has a width at 0 and 1.
    """
    n = np.where(totals > 0, totals, np.nan)
    share, extra = hits / n, NORMAL_95**2 / n
    middle = share + extra / 2
    half = NORMAL_95 * np.sqrt(share * (1 - share) / n + extra / n / 4)
    return np.clip((middle - half) / (1 + extra), 0, 1), np.clip((middle + half) / (1 + extra), 0, 1)


def _say(figure: go.Figure, sentence: str) -> go.Figure:
    """Put a sentence into a figure that has nothing to show."""
    place = {"xref": "x domain", "yref": "y domain", "x": 0.5, "y": 0.5}
    figure.add_annotation(text=sentence, font_size=14, showarrow=False, **place)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False)
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False)
    return figure


def _fitting(words: str, token: str) -> str:
    """Return the title of the bars' axis, in two lines where one would reach into the counts."""
    height = Frame((0, 1), (0, 1), ROOM).size[1] - COUNTS_HEIGHT - GAP
    line = f"{words} {token}"
    return line if text_size(line)[0] <= height else f"{words}<br>{token}"


def _base_rate(attributes: Mapping[str, Any]) -> float:
    return int(attributes["top_predictions"]) / int(attributes["n_tokens"])


def _add_base_rate(figure: go.Figure, layout: Labels, attributes: Mapping[str, Any]) -> None:
    """Add the proportion of top predictions among all tokens as a dashed line."""
    counts = f"{attributes['top_predictions']:,} of {attributes['n_tokens']:,} tokens"
    rate = _base_rate(attributes)
    add_reference(figure, layout, rate, f"Base rate: {rate:.2g} ({counts})", bgcolor=LABEL_BACKGROUND)


def _bars(edges: np.ndarray, counts: np.ndarray, intervals: tuple[np.ndarray, np.ndarray], top: bool) -> go.Bar:
    """Return the bars of the proportion of top predictions, or of the rest up to 1."""
    totals = counts.sum(axis=1)
    filled = totals > 0  # a bin without tokens has no proportion
    lines = (
        "%{customdata[0]:.4g} < activation <= %{customdata[1]:.4g}",
        f"Top prediction={top}: %{{y:.3f}}",
        "True: %{customdata[2]:,} of %{customdata[3]:,} tokens",
        "95 % interval of True: %{customdata[4]:.3f} to %{customdata[5]:.3f}",
    )
    return go.Bar(
        x=((edges[:-1] + edges[1:]) / 2)[filled],
        y=(counts[:, int(top)] / np.maximum(totals, 1))[filled],
        width=np.diff(edges)[filled],
        name=str(top),
        marker={"color": BAR_COLORS[top], "line": {"color": "white", "width": 1}},
        customdata=np.column_stack([edges[:-1], edges[1:], counts[:, 1], totals, *intervals])[filled],
        hovertemplate=hover(*lines),
    )


def _intervals(middles: np.ndarray, counts: np.ndarray, intervals: tuple[np.ndarray, np.ndarray]) -> go.Scatter:
    """Return the intervals around each proportion; a trace of its own, because bars would hide those of other bars."""
    totals = counts.sum(axis=1)
    filled = totals > 0
    share = (counts[:, 1] / np.maximum(totals, 1))[filled]
    low, high = (end[filled] for end in intervals)
    error = {"array": high - share, "arrayminus": share - low, "symmetric": False}
    return go.Scatter(
        x=middles[filled],
        y=share,
        mode="markers",
        marker={"color": "black", "size": 3},
        error_y={"type": "data", "color": "black", "thickness": 1, "width": 2, **error},
        showlegend=False,
        hoverinfo="skip",
    )


def _add_counts(figure: go.Figure, edges: np.ndarray, totals: np.ndarray, static: bool) -> None:
    """Add a panel above the bars with the number of tokens in each bin, on a logarithmic axis."""
    height = Frame((0, 1), (0, 1), ROOM).size[1]
    decades = float(np.log10(totals.max()))
    figure.add_trace(
        go.Bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=np.where(totals > 0, totals, np.nan),
            width=np.diff(edges),
            marker={"color": COUNT_COLOR, "line": {"color": "white", "width": 1}},
            text=[f"{total:,}" if total and static else "" for total in totals],
            textangle=-90,
            textfont_size=9,
            insidetextfont_color="white",
            textposition="auto",
            constraintext="none",
            yaxis="y2",
            showlegend=False,
            hovertemplate=hover("%{y:,} tokens"),
        )
    )
    figure.update_layout(
        margin=ROOM,
        yaxis_domain=(0, 1 - (COUNTS_HEIGHT + GAP) / height),
        yaxis2={
            "title": {"text": "Tokens"},
            "domain": (1 - COUNTS_HEIGHT / height, 1),
            "type": "log",
            "range": (-0.4, decades + 0.2),
            "dtick": max(1, round(decades / 3)),
            "tickformat": ",",
            "ticklabelstandoff": 4,
        },
    )


def _along(frame: Frame, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return points along a curve, as far as it has values."""
    known = np.isfinite(y)
    points = frame.pixels(x[known], y[known])
    return along(points) if len(points) > 1 else points


def _add_best(figure: go.Figure, layout: Labels, attributes: Mapping[str, Any]) -> None:
    """Mark the threshold of the largest F1, if there is one, and the base rate."""
    best, f1 = float(attributes["best_threshold"]), float(attributes["best_f1"])
    if np.isnan(best):
        return _add_base_rate(figure, layout, attributes)
    bottom, top = layout.frame.y_range
    layout.obstacles = np.vstack([layout.obstacles, along(layout.frame.pixels([best, best], [top, bottom]))])
    figure.add_vline(x=best, line_dash="dash", line_color=REFERENCE_COLOR, line_width=1)
    _add_base_rate(figure, layout, attributes)
    precision, recall = float(attributes["best_precision"]), float(attributes["best_recall"])
    text = f"Best F1 {f1:.3f}: activation > {best:.4g}<br>precision {precision:.3f}, recall {recall:.3f}"
    return annotate(figure, layout, [(best, f1, text)], standoff=2)


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
    figure.add_annotation(xref="paper", yref="paper", showarrow=False, font_size=14, **title)
    figure.update_yaxes(zeroline=False)
    figure.add_hline(y=0, line_color=REFERENCE_COLOR, line_width=1)
