"""The studied neurons of several models.

| function | table |
| --- | --- |
| `comparison_fig` | results/comparison.csv |
"""

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from an_neuron.errors import DamagedFileError
from an_neuron.figures.labels import MARGIN, Frame, Labels, along, annotate, padded
from an_neuron.figures.style import add_subtitle, empty_figure, hover
from an_neuron.files.sealed import read_text
from an_neuron.files.texts import visible

COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "pentagon", "hexagon", "star")
SIZE = 12
TEXTS = ("study", "model", "answer", "neuron", "raised", "source")
NUMBERS_READ = ("depth", "recovery", "standard_error")
MEASURED = "measured"
HOVER = ("Study=%{customdata[0]}", "Model=%{customdata[1]}", "Answer=%{customdata[2]}", "Neuron=%{customdata[3]}")
NUMBERS = ("Depth=%{x:.2f}", "Recovery=%{y:.3f}", "Raised tokens=%{customdata[4]}")


def read_comparison(path: str | Path) -> pd.DataFrame:
    """Read results/comparison.csv; texts stay as they are written, a neuron such as 2.10 and a token such as NA too."""
    text = read_text(path)
    kinds: dict[str, Any] = {**dict.fromkeys(TEXTS, str), **dict.fromkeys(NUMBERS_READ, float)}
    try:
        table = pd.read_csv(StringIO(text), dtype=kinds, keep_default_na=False, na_values={"standard_error": [""]})
    except (ValueError, ArithmeticError) as error:  # pandas' own errors are ValueErrors
        raise DamagedFileError(path, f"is no table of studies ({error})") from error
    if missing := [name for name in kinds if name not in table]:
        raise DamagedFileError(path, f"lacks the columns {', '.join(missing)}")
    return table


def comparison_fig(table: pd.DataFrame) -> go.Figure:
    """Draw the recovery of each study's neuron over the depth at which it lies in its model.

    Filled markers are measured, with their standard error where there are several prompt pairs; hollow ones are
    published values.

    Parameters
    ----------
    table
        A row a study: study, model, answer, neuron (as text), depth, recovery, standard_error, raised, source.
    """
    x, y = table["depth"].to_numpy(float), table["recovery"].to_numpy(float)
    error = np.nan_to_num(table["standard_error"].to_numpy(float))
    frame = Frame((-0.05, 1.05), padded(np.concatenate([[0, 1], y - error, y + error]), 0.08), {**MARGIN, "t": 80})
    titles = "Depth of the Neuron's Layer (0 = first, 1 = last)", "Recovery"
    figure = empty_figure("The Studied Neuron of Each Model", *titles, frame)
    add_subtitle(figure, "0 = the corrupted run, 1 = the clean run is restored; hollow: published, not measured here")
    models = {model: number for number, model in enumerate(dict.fromkeys(table["model"]))}
    rows: list[Any] = table.to_dict("records")
    for row in rows:
        figure.add_trace(_marker(row, models[row["model"]]))
    bars = [along(frame.pixels([at, at], [low, high])) for at, low, high in zip(x, y - error, y + error, strict=True)]
    drawn = np.vstack([frame.pixels(x, y), *bars])
    marks = [(row["depth"], row["recovery"], _label(row)) for row in rows]
    annotate(figure, Labels(frame, drawn, important=drawn), marks, standoff=SIZE / 2)
    return figure


def _marker(row: dict[str, Any], number: int) -> go.Scatter:
    """Return a study's point: colour and symbol tell the model, and a hollow one is published."""
    color, symbol = COLORS[number % len(COLORS)], SYMBOLS[number % len(SYMBOLS)]
    hollow = {} if row["source"] == MEASURED else {"symbol": f"{symbol}-open", "line": {"width": 2}}
    marker = {"color": color, "size": SIZE, "symbol": symbol, **hollow}
    error = float(row["standard_error"])
    bar = None if np.isnan(error) else {"array": [error], "color": color}
    shown = [visible(row[name]) for name in ("study", "model", "answer", "neuron", "raised")]
    return go.Scatter(
        x=[row["depth"]],
        y=[row["recovery"]],
        error_y=bar,
        mode="markers",
        marker=marker,
        customdata=[shown],
        hovertemplate=hover(*HOVER, *NUMBERS, f"Source={row['source']}"),
    )


def _label(row: dict[str, Any]) -> str:
    """Return study and neuron, and below them the model."""
    study, neuron, model = (visible(row[name]) for name in ("study", "neuron", "model"))
    return f"{study}: {neuron}<br>{model}" + ("" if row["source"] == MEASURED else " (published)")
