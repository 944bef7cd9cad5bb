"""The studied neuron and the choice between answer and foil, where one of them is to be expected."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.corpus import ROOM, say
from an_neuron.figures.labels import LABEL_BACKGROUND, Frame, Labels, padded
from an_neuron.figures.style import (
    MARK_COLOR,
    REFERENCE_COLOR,
    TOP_PREDICTION_COLORS,
    add_reference,
    add_subtitle,
    drawn_of,
    empty_figure,
    hover,
    markers,
)
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_and_token, visible

OTHER, ANSWER, FOIL = 0, 1, 2  # as in activations/choice.h5
NEXT_COLORS = {OTHER: "#a0a0a0", FOIL: TOP_PREDICTION_COLORS[False], ANSWER: TOP_PREDICTION_COLORS[True]}
SHARE_COLOR = "rgba(255, 0, 0, 0.3)"  # the intervals must be seen on it
COUNTS_LEVEL = 1.15  # above all proportions


def choice_scatter_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw logit(answer) - logit(foil) against the activation, coloured by the token that really follows.

    Parameters
    ----------
    table
        activation[position], logit_difference[position], next[position]; attributes layer, index, token, foil,
        least_expected, n_positions, n_rows, and both correlations with their intervals.
    static
        Draw for a static file, not for a browser. Of too many points those that overlap are left out.
    """
    attributes, x, y, kind = table.attributes, table["activation"], table["logit_difference"], table["next"]
    neuron, answer, foil = _names(attributes)
    frame = Frame(padded(x, 0.03), padded(np.append(y, 0), 0.05), {**ROOM, "t": 100})  # for two lines of subtitle
    title = f'{neuron} activation and the choice between "{answer}" and "{foil}"'
    axes = f"{neuron} activation", f'logit("{answer}") - logit("{foil}")'
    figure = empty_figure(title, *axes, frame)
    if not len(x):
        return say(figure, _nowhere(attributes))
    drawn = _drawn(frame.pixels(x, y), static)
    named = {OTHER: "other", FOIL: f'"{foil}"', ANSWER: f'"{answer}"'}
    for which, name in named.items():  # the answer is drawn last, over the others
        chosen = drawn & (kind == which)
        lines = f"Next token: {name}", "activation=%{x}", f"{axes[1]}=%{{y}}"
        options = {"name": name, "marker_color": NEXT_COLORS[which], "marker_size": 5, "hovertemplate": hover(*lines)}
        figure.add_trace(markers(x[chosen], y[chosen], static, len(x), **options))
    figure.add_hline(y=0, line_color=REFERENCE_COLOR, line_width=1)
    figure.update_layout(showlegend=True, legend_title_text="Real next token", legend_traceorder="reversed")
    thinning = "" if drawn.all() else f" ({drawn.sum():,} drawn)"
    add_subtitle(figure, f"{_where(attributes)}{thinning}<br>{_correlation(attributes)}")
    return figure


def choice_proportion_fig(table: Table) -> go.Figure:
    """Draw by bin of activation the model's mean p(answer | answer or foil), and the real share with Wilson intervals.

    Parameters
    ----------
    table
        edge[edge], and by bin count, mean_p_answer, answers, answers_or_foils, share_low, share_high; attributes as
        for `choice_scatter_fig`, and direction.
    """
    attributes, totals = table.attributes, table["answers_or_foils"]
    neuron, answer, foil = _names(attributes)
    place = np.arange(len(totals))
    frame = Frame((-0.6, len(place) - 0.4), (-0.02, 1.27), {**ROOM, "b": 104, "r": 156})
    title = f'The choice between "{answer}" and "{foil}" by {neuron} activation'
    figure = empty_figure(title, f"{neuron} activation", f'Share of "{answer}" of both', frame)
    if not attributes["n_positions"]:
        return say(figure, _nowhere(attributes))
    figure.add_trace(_real_share(table, place))
    model = {"name": "the model's mean p", "marker": {"color": MARK_COLOR, "size": 9, "symbol": "diamond"}}
    lines = "Mean of the model: %{y:.3f}", "%{customdata:,} positions"
    model |= {"customdata": table["count"], "hovertemplate": hover(*lines)}
    figure.add_trace(go.Scatter(x=place, y=table["mean_p_answer"], mode="lines+markers", **model))
    for x, hits, total in zip(place.tolist(), table["answers"].tolist(), totals.tolist(), strict=True):
        if total:
            figure.add_annotation(x=x, y=COUNTS_LEVEL, text=f"{hits:,}<br>of {total:,}", showarrow=False)
    figure.update_xaxes(tickvals=place, ticktext=_bin_names(table), tickangle=0)
    figure.update_yaxes(tickvals=np.linspace(0, 1, 6))
    figure.update_layout(showlegend=True, legend={"traceorder": "normal"})
    add_subtitle(figure, f'{_where(attributes)}; above, real "{answer}" of both, with 95 % Wilson intervals')
    _add_base_rate(figure, frame, table)
    return figure


def _names(attributes: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return how the neuron, the answer and the foil are called."""
    return *neuron_and_token(attributes), visible(attributes["foil"])


def _sum(attributes: Mapping[str, Any]) -> str:
    _, answer, foil = _names(attributes)
    return f'p("{answer}") + p("{foil}")'


def _where(attributes: Mapping[str, Any]) -> str:
    counts = f"{attributes['n_held']:,} positions in {attributes['n_rows']:,} rows"
    if attributes["n_held"] < attributes["n_positions"]:
        counts = f"{counts}, drawn evenly from {attributes['n_positions']:,},"
    return f"{counts} where {_sum(attributes)} > {attributes['least_expected']:g}"


def _nowhere(attributes: Mapping[str, Any]) -> str:
    return f"{_sum(attributes)} is nowhere above {attributes['least_expected']:g}: there is no choice to look at."


def _correlation(attributes: Mapping[str, Any]) -> str:
    """Return both correlations and their intervals."""
    parts = [
        f"{name.title()} {attributes[name]:.2f} ({attributes[f'{name}_low']:.2f} to {attributes[f'{name}_high']:.2f})"
        for name in ("pearson", "spearman")
    ]
    return f"{', '.join(parts)}; 95 % bootstrap intervals by {attributes['resampled']}"


def _drawn(pixels: np.ndarray, static: bool) -> np.ndarray:
    """Choose the points to be drawn, [n] booleans."""
    return drawn_of(pixels, np.zeros(len(pixels), dtype=bool), static)


def _real_share(table: Table, place: np.ndarray) -> go.Bar:
    """Return the bars of the real share, where there are any, with their intervals."""
    totals, answers = table["answers_or_foils"], table["answers"]
    filled = totals > 0
    share = (answers / np.maximum(totals, 1))[filled]
    low, high = table["share_low"][filled], table["share_high"][filled]
    error = {"array": high - share, "arrayminus": share - low, "symmetric": False, "thickness": 1, "width": 3}
    return go.Bar(
        x=place[filled],
        y=share,
        name="in the text",
        marker={"color": SHARE_COLOR},
        error_y={"type": "data", "color": "black", **error},
        customdata=np.column_stack([answers[filled], totals[filled], low, high]),
        hovertemplate=hover(
            "Share in the text: %{y:.3f}",
            "%{customdata[0]:,} of %{customdata[1]:,}",
            "95 % interval: %{customdata[2]:.3f} to %{customdata[3]:.3f}",
        ),
    )


def _bin_names(table: Table) -> list[str]:
    """Return each bin's part of the positions, its activations, and how many positions it holds.

    Equal activations are in one bin, so that it may hold more than its quantiles say, and the next one nothing.
    """
    first, last = ("highest", "lowest") if table.attributes["direction"] == "below" else ("lowest", "highest")
    count, edges = table["count"], [f"{edge:.2f}" for edge in table["edge"]]
    upto = [0, *np.round(100 * count.cumsum() / count.sum()).astype(int).tolist()]
    parts = [f"{low}–{high} %" for low, high in pairwise(upto)]
    parts[0], parts[-1] = f"{first} {upto[1]} %", f"{last} {100 - upto[-2]} %"
    return [
        f"{part}<br>{edge}<br>to {next_edge}<br>n = {number:,}" if number else "no other<br>activation"
        for part, edge, next_edge, number in zip(parts, edges, edges[1:], count, strict=False)
    ]


def _add_base_rate(figure: go.Figure, frame: Frame, table: Table) -> None:
    """Add the real share of all positions as a dashed line."""
    answers, total = int(table["answers"].sum()), int(table["answers_or_foils"].sum())
    if not total:
        return
    levels = np.concatenate([table["mean_p_answer"], table["share_low"], table["share_high"]])
    places = np.tile(np.arange(len(table["count"])), 3)
    known = np.isfinite(levels)
    layout = Labels(frame, frame.pixels(places[known], levels[known]))
    text = f"Base rate: {answers / total:.2g} ({answers:,} of {total:,})"
    add_reference(figure, layout, answers / total, text, bgcolor=LABEL_BACKGROUND)
