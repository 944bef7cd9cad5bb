"""How active every neuron is over the corpus: how often, and in how long a tail."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import MARGIN, Frame, Labels, annotate, padded
from an_neuron.figures.style import (
    MARKER_RADIUS,
    add_subtitle,
    drawn_of,
    empty_figure,
    hover,
    markers,
    ring,
)
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_and_token, neuron_name

ROOM = {**MARGIN, "t": 80, "r": 110}  # for a subtitle and a colour bar
FIRES = {
    False: "Firing Rate: Share of Tokens With an Activation Above 0",
    True: "Firing Rate: Share of Tokens With an |Activation| Above a Tenth of the Largest",
}
COLUMNS = ("layer", "index", "firing_rate", "kurtosis", "mean", "maximum")


def neuron_statistics_fig(table: Table, studied: Mapping[str, Any], static: bool = True) -> go.Figure:
    """Draw every neuron's kurtosis against its firing rate, both logarithmic, coloured by layer.

    Parameters
    ----------
    table
        activations/neurons.h5.
    studied
        layer, index and token of the association to be marked; a neuron that was not watched is not drawn.
    static
        Draw for a static file, not for a browser. Of too many points those that overlap are left out.
    """
    values = _columns(table)
    shown = (values["firing_rate"] > 0) & (values["kurtosis"] > 0)
    order = np.random.default_rng(0).permutation(np.flatnonzero(shown))  # so that no layer hides the others
    values = {name: column[order] for name, column in values.items()}
    x, y = (np.log10(values[name]) for name in ("firing_rate", "kurtosis"))
    frame = Frame(padded(x, 0.03), padded(y, 0.08), ROOM)
    figure = empty_figure(
        "How Active Each Neuron Is Over the Corpus", FIRES[bool(table.attributes["signed"])], "Kurtosis", frame
    )
    marked = (values["layer"] == studied["layer"]) & (values["index"] == studied["index"])
    drawn = drawn_of(frame.pixels(x, y), marked, static)
    figure.add_trace(_points({name: column[drawn] for name, column in values.items()}, static))
    figure.update_xaxes(type="log", dtick=1, zeroline=False)
    figure.update_yaxes(type="log", dtick=1, zeroline=False)
    bar = {"title": {"text": "Layer"}, "thickness": 16}
    figure.update_layout(coloraxis={"colorscale": "Viridis", "colorbar": bar})
    add_subtitle(figure, _counts(table, shown, drawn))
    if marked.any():
        _mark(figure, Labels(frame, frame.pixels(x, y)), studied, float(x[marked][0]), float(y[marked][0]))
    return figure


def _columns(table: Table) -> dict[str, np.ndarray]:
    """Return what is drawn or told of each neuron, [neuron]."""
    shape = table["mean"].shape
    places = {"layer": np.repeat(table["layer"], shape[1]), "index": np.tile(np.arange(shape[1]), shape[0])}
    return places | {name: table[name].ravel().astype(float) for name in COLUMNS[2:]}


def _points(values: Mapping[str, np.ndarray], static: bool) -> Any:
    neurons = [neuron_name(layer, index) for layer, index in zip(values["layer"], values["index"], strict=True)]
    told = "Mean %{customdata[0]:.3g}, largest %{customdata[1]:.3g}"
    return markers(
        values["firing_rate"],
        values["kurtosis"],
        static,
        marker={"color": values["layer"], "coloraxis": "coloraxis", "size": 3, "opacity": 0.6},
        hovertext=neurons,
        customdata=np.column_stack([values["mean"], values["maximum"]]),
        hovertemplate=hover("<b>%{hovertext}</b>", "", "Firing rate %{x:.3g}", "Kurtosis %{y:.3g}", told),
    )


def _counts(table: Table, shown: np.ndarray, drawn: np.ndarray) -> str:
    """Return how many neurons there are, at how many tokens, and which are not to be seen."""
    layers = len(table["layer"])
    parts = [
        f"{len(shown):,} neurons of {layers} layer{'' if layers == 1 else 's'}, {table.attributes['n_tokens']:,} tokens"
    ]
    if silent := int((~shown).sum()):
        parts.append(f"{silent:,} that never fire are left out")
    if not drawn.all():
        parts.append(f"{drawn.sum():,} drawn, one wherever they overlap")
    return "; ".join(parts)


def _mark(figure: go.Figure, layout: Labels, studied: Mapping[str, Any], x: float, y: float) -> None:
    """Ring and label the studied neuron; x and y are logarithms, as annotations of such axes take them."""
    figure.add_trace(ring(10**x, 10**y))
    _, token = neuron_and_token(studied)
    text = f'{neuron_name(studied["layer"], studied["index"])} ("{token}")'
    annotate(figure, layout, [(x, y, text)], standoff=2 * MARKER_RADIUS)
