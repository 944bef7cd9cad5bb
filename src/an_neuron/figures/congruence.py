"""Figures of congruence: a neuron against every token, and each token's two best neurons.

| function | table |
| --- | --- |
| `neuron_dot_vocab_fig` | congruence/neuron_{layer}.{index}.h5 |
| `most_similar_neurons_fig` | congruence/top_neurons.h5 |
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import Frame, Labels, annotate, padded
from an_neuron.figures.style import MARK_COLOR, MARKER_RADIUS, drawn_of, empty_figure, hover, markers
from an_neuron.files.hdf5 import Table
from an_neuron.files.look import named
from an_neuron.files.texts import token_labels

LABELLED_TOKENS = slice(7)
LABELLED_SIMILARITIES = slice(0, 21, 3)


def neuron_dot_vocab_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw a neuron's output weights times each token's unembedding, and label the seven best tokens.

    Parameters
    ----------
    table
        W_out_dot_W_U[d_vocab], token[d_vocab]; attributes layer, index.
    static
        Draw for a static file, not for a browser.
    """
    layer, neuron = table.attributes["layer"], table.attributes["index"]
    tokens = token_labels(table["token"])
    original = f"Token Embeddings Dot Output Weights of Layer {layer} MLP Neuron {neuron}"
    title = named(f"W_out of Neuron {layer}.{neuron} · W_U of Each Token", original)
    template = hover("<b>%{hovertext}</b>", "", "Token=%{x}", "Dot Product=%{y}")
    values = table["W_out_dot_W_U"]
    figure = _token_scatter(title, "Dot Product", values, static, template, hovertext=tokens)
    _label_highest(figure, values, tokens, LABELLED_TOKENS)
    return figure


def most_similar_neurons_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw for each token by how much its best neuron beats its second best, and label every third of the top 21.

    Parameters
    ----------
    table
        value[d_vocab, 2], layer[d_vocab, 2], index[d_vocab, 2], token[d_vocab].
    static
        Draw for a static file, not for a browser.
    """
    difference = table["value"][:, 0] - table["value"][:, 1]
    neurons_of = np.stack([table["layer"], table["index"]], axis=-1)
    neurons = [f"Layer: {a}, Neuron: {b} - Layer: {c}, Neuron: {d}" for (a, b), (c, d) in neurons_of.tolist()]
    tokens = token_labels(table["token"])
    original = "Difference between Top 2 Most Similar Neuron Output Weights for each Token Embedding"
    title = named("How Far Each Token's Most Congruent Neuron Is Ahead of the Next", original)
    axis = named("Congruence: best − second best neuron", "Top 2 Dot Product Difference")
    template = hover("<b>%{hovertext}</b>", "", "Token=%{customdata} (%{x})", f"{axis}=%{{y}}")
    figure = _token_scatter(title, axis, difference, static, template, hovertext=neurons, customdata=tokens)
    if 3 <= np.nanmax(difference) <= 20:  # outside of it, ticks at each whole number are too few or too many
        figure.update_yaxes(dtick=1)
    _label_highest(figure, difference, tokens, LABELLED_SIMILARITIES)
    return figure


def _token_scatter(
    title: str, y_title: str, values: np.ndarray, static: bool, template: str, **of_each: Sequence[str]
) -> go.Figure:
    """Return a figure with a point per token, at its id: different ids may have the same text."""
    ids = np.arange(len(values))
    frame = Frame(padded(ids, 0.03), padded(values, 0.08))
    figure = empty_figure(title, "Token", y_title, frame)
    drawn = drawn_of(frame.pixels(ids, values), np.zeros(len(ids), dtype=bool), static)
    told = {name: np.asarray(texts)[drawn] for name, texts in of_each.items()}
    figure.add_trace(
        markers(ids[drawn], values[drawn], static, marker_color=MARK_COLOR, hovertemplate=template, **told)
    )
    return figure


def _label_highest(figure: go.Figure, values: np.ndarray, texts: Sequence[str], ranks: slice) -> None:
    """Label the points at these ranks, counted from the highest value."""
    frame = Frame(figure.layout.xaxis.range, figure.layout.yaxis.range)
    chosen = [index for index in np.argsort(-values, kind="stable")[ranks] if values[index] > 0]
    layout = Labels(frame, frame.pixels(np.arange(len(values)), values))
    annotate(figure, layout, [(index, values[index], texts[index]) for index in chosen], standoff=MARKER_RADIUS)
