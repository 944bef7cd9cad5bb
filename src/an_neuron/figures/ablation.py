"""What the model loses over the corpus without the studied neuron."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from an_neuron.corpus.ablations import PLACES, ablation_frame
from an_neuron.figures.labels import LABEL_BACKGROUND, MARGIN, Frame, padded
from an_neuron.figures.style import REFERENCE_COLOR, add_subtitle, empty_figure, hover
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_and_token, visible

NAMES = {"zero": "switched off", "mean": "held at its mean", "negated": "negated"}
COLORS = {"zero": "#d62728", "mean": "#ff7f0e", "negated": "#9467bd"}
ROOM = {**MARGIN, "l": 140, "r": 240, "t": 80}  # for the interventions' names, and for the numbers
ENDS = ["loss_change", "loss_change_low", "loss_change_high"]


def ablation_fig(table: Table) -> go.Figure:
    """Draw by how much each intervention changes the loss where the token, the foil, and other tokens follow.

    Parameters
    ----------
    table
        ablation/losses.h5; its first association is drawn.
    """
    identity = {name: table[f"association_{name}"][0] for name in ("token", "layer", "index")}
    neuron, token = neuron_and_token(identity)
    groups = _groups(ablation_frame(table), identity)
    figure = _empty(neuron, groups, table.attributes["resampled"])
    names = {"token": f'"{token}"', "foil": f'"{visible(table.attributes["foil"])}"'}
    level, ticks = 0, {}
    for group in groups:
        _add_text(figure, level, _heading(group, names), x=0, xanchor="left", bgcolor=LABEL_BACKGROUND)
        for row in group.to_dict("records"):
            level += 1
            ticks[level] = NAMES[str(row["intervention"])]
            figure.add_trace(_interval(level, row))
            _add_text(figure, level, _numbers(row), x=1.01, xanchor="left")
        level += 1
    figure.update_yaxes(tickvals=[*ticks], ticktext=[*ticks.values()])
    return figure


def _groups(frame: pd.DataFrame, identity: Mapping[str, Any]) -> list[pd.DataFrame]:
    """Return an association's rows, grouped by what follows."""
    of_it = (frame["layer"] == identity["layer"]) & (frame["index"] == identity["index"])
    frame = frame[of_it & (frame["token"] == repr(identity["token"]))]
    groups = (frame[frame["place"] == place] for place in PLACES)
    return [group for group in groups if len(group)]


def _empty(neuron: str, groups: Sequence[pd.DataFrame], resampled: str) -> go.Figure:
    """Return the figure without its intervals: a level for each row and each group's heading, from above."""
    changes = np.concatenate([group[ENDS].to_numpy(float).ravel() for group in groups])
    n_levels = sum(1 + len(group) for group in groups)
    frame = Frame(padded(np.append(changes, 0), 0.06), (n_levels - 0.4, -0.6), ROOM)
    figure = empty_figure(
        f"Loss Over the Corpus Without {neuron}",
        "Change of the Next-Token Loss in Nats (right: the model predicts worse)",
        "",
        frame,
    )
    figure.add_vline(x=0, line_color=REFERENCE_COLOR, line_width=1)
    figure.update_yaxes(showgrid=False, zeroline=False)
    add_subtitle(
        figure,
        f"The neuron is changed at every token; means with 95 % bootstrap intervals by {resampled} of the corpus",
    )
    return figure


def _heading(group: pd.DataFrame, names: Mapping[str, str]) -> str:
    """Return what follows at a group's places, how many there are, and the loss there."""
    row = group.iloc[0]
    where = f"Where {names[row['place']]} follows" if row["place"] in names else "Elsewhere"
    counts = f"{_counted(row['n'], 'token')} in {_counted(row['n_rows'], 'row')}"
    return f"<b>{where}</b>: {counts}, loss {row['loss']:.3f} nats"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _interval(level: int, row: Mapping[Any, Any]) -> go.Scatter:
    change, low, high = (row[name] for name in ENDS)
    error = {"type": "data", "symmetric": False, "array": [high - change], "arrayminus": [change - low]}
    color = COLORS[row["intervention"]]
    return go.Scatter(
        x=[change],
        y=[level],
        mode="markers",
        marker={"color": color, "size": 9},
        error_x={**error, "color": color, "thickness": 2, "width": 4},
        hovertemplate=hover(
            f"{NAMES[row['intervention']]}: {_numbers(row)}",
            f"Loss {row['loss']:.4f} → {row['loss_ablated']:.4f} nats",
            f"Probability of the token {row['probability']:.4f} → {row['probability_ablated']:.4f}",
        ),
    )


def _numbers(row: Mapping[Any, Any]) -> str:
    """Return the change and its interval, which a corpus of one row does not have, each to so many decimals."""
    ends = np.array([row[name] for name in ENDS], float)
    largest = float(np.nanmax(np.abs(ends)))
    decimals = 3 if largest == 0 else int(np.clip(2 - np.floor(np.log10(largest)), 3, 5))
    change, low, high = (f"{end:+.{decimals}f}".replace("-", "−") for end in ends)
    return change if np.isnan(ends[1]) else f"{change} ({low} to {high})"


def _add_text(figure: go.Figure, level: int, text: str, **place: Any) -> None:
    figure.add_annotation(y=level, text=text, showarrow=False, xref="x domain", yanchor="middle", **place)
