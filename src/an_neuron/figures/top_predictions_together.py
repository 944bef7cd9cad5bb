"""The proportion of top predictions by activation, of several associations in one figure."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from an_neuron.corpus.intervals import wilson_interval
from an_neuron.figures.corpus import FEW, ROOM, is_signed, never_active, say, share_symbols
from an_neuron.figures.labels import Frame, padded
from an_neuron.figures.style import add_subtitle, empty_figure, hover
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name, visible

MOST_LINES = 5
COLORS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9")
NAMES_ROOM = {**ROOM, "r": 230}


def top_predictions_together_fig(tables: Sequence[Table]) -> go.Figure:
    """Draw for up to five associations how often the token is the top prediction, by bin of the neuron's activation.

    The first association, the studied one, is always drawn, and the four others whose activation tells most of the top
    prediction (largest F1). Of a signed neuron the side of activations that tells more is drawn, as a distance from 0.

    Parameters
    ----------
    tables
        activations/{association}.h5 of each association: bin_edge[edge], bin_count[bin, is_top]; attributes layer,
        index, token, signed, direction, best_f1.
    """
    drawn = chosen(tables)
    sides = [_side(table) for table in drawn]
    frame = Frame(padded(np.concatenate([[0.0], *(middles for middles, _ in sides)]), 0.03), (-0.03, 1.05), NAMES_ROOM)
    title = "Proportion of Top Predictions by Activation"
    signed = any(is_signed(table.attributes) for table in drawn)
    x_title = "Neuron activation" + (" (distance from 0, on the side that tells more)" if signed else "")
    figure = empty_figure(title, x_title, "Proportion With Top Prediction", frame)
    if not any(len(middles) for middles, _ in sides):
        return say(figure, never_active(drawn[0].attributes))
    for table, color, (middles, counts) in zip(drawn, COLORS, sides, strict=False):
        figure.add_trace(_line(table, color, middles, counts))
    figure.update_layout(showlegend=True, legend_title_text="Token, neuron")
    left_out = f"{len(drawn)} of {len(tables)} associations; " if len(drawn) < len(tables) else ""
    add_subtitle(figure, f"{left_out}bins of equal width for each neuron; open points: fewer than {FEW} tokens")
    return figure


def chosen(tables: Sequence[Table]) -> list[Table]:
    """Return the first table, and the others with the largest F1 in their order by it, up to `MOST_LINES` in all."""
    first, *others = tables
    return [first, *sorted(others, key=lambda table: -np.nan_to_num(table.attributes["best_f1"]))[: MOST_LINES - 1]]


def _side(table: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles of the bins that hold tokens, as distances from 0, and their counts, [bin, is_top]."""
    edges, counts = table["bin_edge"].astype(float), table["bin_count"]
    sign = -1 if table.attributes["direction"] == "below" else 1
    middles = sign * (edges[:-1] + edges[1:]) / 2
    shown = (middles > 0) & (counts.sum(1) > 0)
    order = np.argsort(middles[shown])
    return middles[shown][order], counts[shown][order]


def _line(table: Table, color: str, middles: np.ndarray, counts: np.ndarray) -> go.Scatter:
    totals, attributes = counts.sum(1), table.attributes
    name = f'"{visible(attributes["token"])}", {neuron_name(attributes["layer"], attributes["index"])}'
    lines = (
        f"<b>{name}</b>",
        "Activation around %{x:.4g}",
        "%{customdata[0]:,} of %{customdata[1]:,} tokens: %{y:.3f}",
        "95 % interval %{customdata[2]:.3f} to %{customdata[3]:.3f}",
    )
    return go.Scatter(
        x=middles,
        y=counts[:, 1] / totals,
        mode="lines+markers",
        name=name,
        line={"color": color, "width": 2},
        marker={"color": color, "size": 7, "symbol": share_symbols(totals)},
        customdata=np.column_stack([counts[:, 1], totals, *wilson_interval(counts[:, 1], totals)]),
        hovertemplate=hover(*lines),
    )
