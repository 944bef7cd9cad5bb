"""Figures of congruence over the whole model: the answer against every neuron, and the cleanly associated neurons.

| function | table |
| --- | --- |
| `answer_dot_neurons_fig` | congruence/answer.h5 |
| `exclusive_congruence_fig` | congruence/exclusive.h5 |
"""

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import MARGIN, Frame, Labels, annotate, padded
from an_neuron.figures.style import (
    MARK_COLOR,
    MARKER_RADIUS,
    add_subtitle,
    drawn_of,
    empty_figure,
    hover,
    markers,
    ring,
)
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name, token_labels, visible

ROOM = {**MARGIN, "t": 80}  # for a subtitle
LABELLED_NEURONS = 5
LABELLED_MATCHES = 6


def answer_dot_neurons_fig(table: Table, studied: tuple[int, int], static: bool = True) -> go.Figure:
    """Draw every neuron's output weights times the answer's unembedding; label the five farthest from 0, and one more.

    Parameters
    ----------
    table
        W_out_dot_W_U[layer, d_mlp]; attribute token.
    studied
        Layer and index of the neuron that is ringed, and labelled too.
    static
        Draw for a static file, not for a browser. Of too many points those that overlap are left out.
    """
    values = table["W_out_dot_W_U"]
    (n_layers, d_mlp), flat = values.shape, values.ravel()
    token = visible(table.attributes["token"])
    place = np.arange(len(flat)) / d_mlp - 0.5  # a layer is one unit wide, with its tick in the middle
    frame = Frame(padded(place, 0.02), padded(flat, 0.1), ROOM)
    title = f'Output Weights of Each Neuron Dot the Unembedding of "{token}"'
    figure = empty_figure(title, "Layer", "Dot Product", frame)
    ringed = studied[0] * d_mlp + studied[1]
    best = np.argsort(-np.abs(flat), kind="stable")[:LABELLED_NEURONS]
    labelled = best if ringed in best else np.append(best, ringed)
    drawn = drawn_of(frame.pixels(place, flat), np.isin(np.arange(len(flat)), labelled), static)
    names = [neuron_name(*divmod(number, d_mlp)) for number in range(len(flat))]
    figure.add_trace(
        markers(
            place[drawn],
            flat[drawn],
            static,
            marker={"color": MARK_COLOR, "size": 4},
            hovertext=np.array(names)[drawn],
            hovertemplate=hover("<b>%{hovertext}</b>", "", "Dot Product=%{y}"),
        )
    )
    figure.add_trace(ring(place[ringed], flat[ringed]))
    step = 1 if n_layers <= 16 else 5
    figure.update_xaxes(tickvals=np.arange(0, n_layers, step), showgrid=True, zeroline=False)
    rank = int((np.abs(flat) > abs(flat[ringed])).sum()) + 1
    add_subtitle(figure, f"{len(flat):,} neurons; ringed {names[ringed]}, number {rank:,} by distance from 0")
    layout = Labels(frame, frame.pixels(place, flat))
    annotate(figure, layout, [(place[n], flat[n], names[n]) for n in labelled], standoff=2 * MARKER_RADIUS)
    return figure


def exclusive_congruence_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw the product of both gaps of each mutual best match by rank, on logarithmic axes, and label the first ones.

    Parameters
    ----------
    table
        congruence/exclusive.h5.
    static
        Draw for a static file, not for a browser.
    """
    product = table["product"].astype(float)
    rank = np.arange(1, len(product) + 1)
    x, y = np.log10(rank), np.log10(product)
    low, high = padded(y, 0.08)
    frame = Frame((-0.1, max(1.0, float(x.max(initial=0))) + 0.1), (low, high + 0.1 * (high - low)), ROOM)
    title = "Mutually Exclusive Congruence: Tokens and Neurons That Are Each Other's Best"
    figure = empty_figure(title, "Rank", "Gap of the Token × Gap of the Neuron", frame)
    neurons = [neuron_name(*neuron) for neuron in zip(table["layer"].tolist(), table["index"].tolist(), strict=True)]
    names = [f"{token} \u2192 {neuron}" for token, neuron in zip(token_labels(table["token"]), neurons, strict=True)]
    gaps = np.column_stack([table["token_gap"], table["neuron_gap"]])
    lines = "Rank %{x}", "Gap of the token %{customdata[0]:.4g}", "Gap of the neuron %{customdata[1]:.4g}"
    figure.add_trace(
        markers(
            rank,
            product,
            static,
            marker_color=MARK_COLOR,
            hovertext=names,
            customdata=gaps,
            hovertemplate=hover("<b>%{hovertext}</b>", "", *lines),
        )
    )
    figure.update_xaxes(type="log", dtick=1, zeroline=False)
    figure.update_yaxes(type="log", dtick=1, exponentformat="power", zeroline=False)
    add_subtitle(figure, f"{len(product):,} matches; a gap is how far the best is ahead of the second")
    layout = Labels(frame, frame.pixels(x, y))
    annotate(figure, layout, list(zip(x, y, names, strict=True))[:LABELLED_MATCHES], standoff=MARKER_RADIUS)
    return figure
