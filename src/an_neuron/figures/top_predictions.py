"""The proportion of top predictions by bin of a neuron's activation."""

import numpy as np
import plotly.graph_objects as go

from an_neuron.corpus.intervals import wilson_interval
from an_neuron.figures.corpus import (
    FEW,
    ROOM,
    active_tokens,
    add_base_rate,
    few,
    is_signed,
    never_active,
    say,
    share_symbols,
    traced,
)
from an_neuron.figures.labels import Frame, Labels, padded, text_size
from an_neuron.figures.style import TOP_PREDICTION_COLORS, add_subtitle, empty_figure, hover
from an_neuron.files.hdf5 import Table
from an_neuron.files.look import look
from an_neuron.files.texts import neuron_and_token

BAR_COLORS = {False: "rgba(0, 119, 187, 0.3)", True: TOP_PREDICTION_COLORS[True]}  # intervals must be seen on the blue
COUNT_COLOR = "#687187"
RANGES = {  # by whether the neuron is signed: below 0 a bin holds its lower edge
    False: "%{customdata[0]:.4g} < activation <= %{customdata[1]:.4g}",
    True: "activation from %{customdata[0]:.4g} to %{customdata[1]:.4g}",
}
COUNT_SMALLER = 3 / 4
COUNTS_HEIGHT, GAP = 56, 8  # pixels: the panel of counts above the bars


def top_prediction_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw for each bin of positive activation how often the token is the top prediction, with 95 % Wilson intervals.

    A signed neuron's bins are of either sign.

    Parameters
    ----------
    table
        bin_edge[edge], bin_count[bin, is_top]; attributes layer, index, token, signed, top_predictions,
        n_tokens.
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
        return say(figure, never_active(table.attributes))
    middles, totals = (edges[:-1] + edges[1:]) / 2, counts.sum(axis=1)
    intervals = wilson_interval(counts[:, 1], totals)
    for top in (True, False):
        figure.add_trace(_bars(table, intervals, top))
    figure.add_trace(_intervals(middles, counts, intervals))
    _add_counts(figure, edges, totals, static)
    counted = f"{active_tokens(table.attributes, totals.sum())}; with 95 % Wilson intervals"
    add_subtitle(figure, counted + (f"; hollow: fewer than {FEW} tokens" if few(totals[totals > 0]).any() else ""))
    figure.update_layout(
        barmode="stack", showlegend=True, legend_title_text="Top prediction", legend_traceorder="reversed"
    )
    frame = Frame(*ranges, {**ROOM, "t": ROOM["t"] + COUNTS_HEIGHT + GAP})
    obstacles = [traced(frame, np.array([x, x]), np.array(ends)) for x, *ends in zip(middles, *intervals, strict=True)]
    add_base_rate(figure, Labels(frame, np.vstack(obstacles)), table.attributes)
    return figure


def _fitting(words: str, token: str) -> str:
    """Return the title of the bars' axis, in two lines where one would reach into the counts."""
    height = Frame((0, 1), (0, 1), ROOM).size[1] - COUNTS_HEIGHT - GAP
    line = f"{words} {token}"
    return line if text_size(line)[0] <= height else f"{words}<br>{token}"


def _bars(table: Table, intervals: tuple[np.ndarray, np.ndarray], top: bool) -> go.Bar:
    """Return the bars of the proportion of top predictions, or of the rest up to 1."""
    edges, counts = table["bin_edge"].astype(float), table["bin_count"]
    totals = counts.sum(axis=1)
    filled = totals > 0  # a bin without tokens has no proportion
    lines = (
        RANGES[is_signed(table.attributes)],
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
        marker={"color": "black", "size": 5, "symbol": share_symbols(totals[filled])},
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
            textfont_size=COUNT_SMALLER * look().font_size,
            insidetextfont_color="white",
            textposition="auto",
            constraintext="none",
            yaxis="y2",
            showlegend=False,
            hovertemplate=hover("%{y:,} tokens"),
        )
    )
    figure.update_layout(
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
