"""The neurons that stand out, in each prompt pair of a set."""

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import MARGIN, Frame, padded
from an_neuron.figures.style import REFERENCE_COLOR, STRONG_COLOR, add_subtitle, empty_figure, hover
from an_neuron.files.hdf5 import Table
from an_neuron.patching.prompt_set import names, statistics
from an_neuron.prompts.prompt_set import DEVELOPMENT, HELD_OUT

SHOWN = 12
COLORS = {DEVELOPMENT: "#9aa7c2", HELD_OUT: STRONG_COLOR}
TITLES = {DEVELOPMENT: "development", HELD_OUT: "held out"}
APART = 0.17  # of a neuron's room: how far the parts stand to each side
JITTER = 0.1  # how far a part's points are spread, so that few hide each other


def prompt_set_fig(table: Table) -> go.Figure:
    """Draw the recovery of the neurons of the largest mean recovery, a point for each prompt pair, and the means.

    Parameters
    ----------
    table
        patching/prompt_set.h5.
    """
    recovery, parts = table["recovery"], table["part"]
    shown = np.argsort(-np.abs(recovery.mean(0)), kind="stable")[:SHOWN]
    of_part = {part: statistics(table, part, [0, *shown]) for part in TITLES if (parts == part).any()}
    frame = Frame((-0.6, len(shown) - 0.4), padded(recovery[:, shown], 0.08), {**MARGIN, "t": 100, "r": 150})
    figure = empty_figure("Recovery From Patched Neurons in Each Prompt Pair", "Neuron", "Recovery", frame)
    figure.add_hline(y=0, line_color=REFERENCE_COLOR, line_width=1)
    for part, stats in of_part.items():
        middle = np.arange(len(shown)) + (APART if part == HELD_OUT else -APART) * (len(of_part) > 1)
        _add_points(figure, table, part, shown, middle)
        _add_means(figure, part, {name: values[1:] for name, values in stats.items()}, middle)
    figure.update_xaxes(tickvals=np.arange(len(shown)), ticktext=[names(table)[neuron] for neuron in shown])
    figure.update_layout(showlegend=True, legend_title_text="Prompt pairs")
    add_subtitle(figure, _sentence(table, of_part))
    return figure


def _add_points(figure: go.Figure, table: Table, part: str, shown: np.ndarray, middle: np.ndarray) -> None:
    rows = np.flatnonzero(table["part"] == part)
    spread = np.linspace(-JITTER, JITTER, len(rows)) if len(rows) > 1 else np.zeros(1)
    figure.add_trace(
        go.Scatter(
            x=(middle[None, :] + spread[:, None]).ravel(),
            y=table["recovery"][np.ix_(rows, shown)].ravel(),
            mode="markers",
            name=f"{TITLES[part]} ({len(rows)})",
            marker={"color": COLORS[part], "size": 5, "opacity": 0.55},
            hovertext=np.repeat(table["clean_prompt"][rows], len(shown)),
            hovertemplate=hover("%{hovertext}", "Recovery=%{y:.4f}"),
        )
    )


def _add_means(figure: go.Figure, part: str, stats: dict[str, np.ndarray], middle: np.ndarray) -> None:
    mean, low, high = stats["mean"], stats["low"], stats["high"]
    figure.add_trace(
        go.Scatter(
            x=middle,
            y=mean,
            mode="markers",
            name=f"mean and its 95 % interval, {TITLES[part]}",
            marker={"color": "black", "size": 11, "symbol": "line-ew", "line": {"width": 2, "color": "black"}},
            error_y={"type": "data", "array": high - mean, "arrayminus": mean - low, "color": "black", "width": 3},
            showlegend=False,
            customdata=np.stack([low, high, stats["p_corrected"]], axis=1),
            hovertemplate=hover(
                "Mean=%{y:.4f}",
                "95 % bootstrap interval=%{customdata[0]:.4f} to %{customdata[1]:.4f}",
                "Corrected p=%{customdata[2]:.2g}",
            ),
        )
    )


def _sentence(table: Table, of_part: dict[str, dict[str, np.ndarray]]) -> str:
    """Say in how many prompt pairs the studied neuron is the best, and over how many neurons."""
    times = " and ".join(
        f"{stats['times_best'][0]} of {stats['prompt_pairs'][0]} {TITLES[part]}" for part, stats in of_part.items()
    )
    return (
        f"{names(table)[0]} has the largest recovery in {times} prompt pairs, of {table['recovery'].shape[1]} neurons "
        "chosen on the main pair.<br>"
        "Bars: means over the prompt pairs of a part, with their 95 % bootstrap intervals"
    )
