"""The published figures: each function takes one result table and returns a plotly figure.

Titles, axes and colours are those of *We Found An Neuron*; what names a study (layer, neuron, token) is read from the
table, and each annotation points at a value found in the data. Labels are laid out for the size of the static
files, 1048 × 512 pixels. Functions with a parameter `static` differ by output: for a static file they draw vector
graphics, for a browser WebGL where there are many points. Figures of the whole model are in `model_figures`.

| function | table |
| --- | --- |
| `logit_lens_fig` | logit_lens.h5 |
| `patched_site_fig` | patching/{site}.h5 |
| `patched_neuron_fig` | patching/neurons/layer_{layer}.h5 |
| `logit_activation_fig` | activations of one neuron, with the margins of one token |
| `neuron_dot_vocab_fig` | congruence/neuron_{layer}.{index}.h5 |
| `most_similar_neurons_fig` | congruence/top_neurons.h5 |
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import MARGIN, Frame, Labels, add_box, along, annotate, padded, text_size
from an_neuron.figures.style import (
    BROWSER_LIMIT,
    CELL_ARROW_COLOR,
    MARK_COLOR,
    MARKER_RADIUS,
    STATIC_LIMIT,
    TOP_PREDICTION_COLORS,
    add_reference,
    add_subtitle,
    empty_figure,
    hover,
    margin_figure,
    markers,
    prediction_counts,
    state_thinning,
    strong_cells,
    style_heat_map,
    thinned,
)
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import token_labels, visible

SITE_TITLES = {
    "resid_pre": "Logit Difference From Patched Residual Stream",
    "attn_out": "Logit Difference From Patched Attention Layer",
    "mlp_out": "Logit Difference From Patched MLP Layer",
}

STANDS_OUT = 1.5  # times the second best
SIGNIFICANT = 0.1  # of the way from the corrupted to the clean logit difference
MARKED_LAYERS = 2
ZOOMED_PIXEL = 0.2  # pixels between points that a browser may leave out, as one can zoom in
LABELLED_ALIGNMENTS = slice(7)
LABELLED_SIMILARITIES = slice(0, 21, 3)


def logit_lens_fig(table: Table) -> go.Figure:
    """Draw the mean logit difference read from the residual stream at each half layer.

    Parameters
    ----------
    table
        x[point], mean_logit_difference[point], point_label[point], model_logit_difference[prompt_pair].
    """
    x, y = table["x"], table["mean_logit_difference"]
    own = float(np.nanmean(table["model_logit_difference"]))
    frame = Frame(padded(x, 0.02), padded(np.append(y, own), 0.12))
    figure = empty_figure("Logit Difference From Residual Stream", "Layer", "Logit Difference", frame)
    labels = [visible(label) for label in table["point_label"]]
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line_color=MARK_COLOR,
            hovertext=labels,
            hovertemplate=hover("<b>%{hovertext}</b>", "", "Layer=%{x}", "Logit Difference=%{y}"),
        )
    )
    layout = Labels(frame, along(frame.pixels(x, y)))
    add_reference(figure, layout, own, f"Model's own logit difference: {own:.2f}")
    peak = int(np.nanargmax(y))
    verb = "spikes to" if 0 < peak < len(y) - 1 else "peaks at"
    annotate(figure, layout, [(x[peak], y[peak], f"Logit Difference {verb} {y[peak]:.2f}")])
    return figure


def patched_site_fig(table: Table) -> go.Figure:
    """Draw the recovery after patching one site at each layer and position as a heat map.

    The attention map marks its highest cell, the MLP map the strongest cell of its two most significant layers.

    Parameters
    ----------
    table
        recovery[layer, pos], clean_token[prompt_pair, pos], corrupted_token[prompt_pair, pos]; attribute site.
    """
    recovery, site = table["recovery"], str(table.attributes["site"])
    n_layers, n_pos = recovery.shape
    labels = _position_labels(table["clean_token"])
    frame = Frame((-0.5, n_pos - 0.5), (n_layers - 0.5, -0.5), _heat_map_margin(labels))
    figure = empty_figure(SITE_TITLES[site], "Token", "Layer", frame)
    texts = _position_texts(table["clean_token"], table["corrupted_token"])
    figure.add_trace(
        go.Heatmap(
            z=recovery,
            x=labels,
            customdata=np.broadcast_to(np.asarray(texts, dtype=object), recovery.shape),
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate=hover("Token: %{customdata}", "Layer: %{y}", "Recovery: %{z}"),
        )
    )
    style_heat_map(figure, recovery)
    figure.update_xaxes(type="category", tickmode="array", tickvals=labels, tickangle=-45)
    layout = Labels(frame, strong_cells(frame, recovery))
    annotate(figure, layout, _site_marks(site, recovery), arrowcolor=CELL_ARROW_COLOR, arrowwidth=2)
    return figure


def patched_neuron_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw the recovery after patching each neuron of one layer, and mark the best.

    Parameters
    ----------
    table
        recovery[d_mlp]; attribute layer.
    static
        Draw for a static file, not for a browser.
    """
    recovery = table["recovery"]
    neurons = np.arange(len(recovery))
    frame = Frame(padded(neurons, 0.03), padded(recovery, 0.08))
    title = f"Logit Difference From Patched Neurons in MLP Layer {table.attributes['layer']}"
    figure = empty_figure(title, "Neuron", "Patch Improvement", frame)
    template = hover("Neuron=%{x}", "Patch Improvement=%{y}")
    figure.add_trace(markers(neurons, recovery, static, marker_color=MARK_COLOR, hovertemplate=template))
    layout = Labels(frame, frame.pixels(neurons, recovery))
    best = int(np.nanargmax(recovery))
    annotate(figure, layout, [(best, recovery[best], _best_neuron_text(recovery))], standoff=MARKER_RADIUS)
    return figure


def logit_activation_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw a neuron's positive activations against a token's margin, in red where the token is the top prediction.

    With more than `STATIC_LIMIT` points (in a browser `BROWSER_LIMIT`) every red one is drawn, and of the blue ones
    that fall on the same spot one; where red ones alone are too many, one of each colour. The subtitle says how many.

    Parameters
    ----------
    table
        activation[row, pos], margin[row, pos], token_id[row, pos], vocabulary[d_vocab]; attributes layer, index,
        token, top_predictions, occurrences.
    static
        Draw for a static file, not for a browser.
    """
    positive = table["activation"] > 0
    activation, margin = table["activation"][positive], table["margin"][positive]
    ids, red = table["token_id"][positive], margin > 0
    frame = Frame(padded(activation, 0.03), padded(margin, 0.05), {**MARGIN, "t": 80, "r": 140})
    figure = margin_figure(table.attributes, frame)
    pixels = frame.pixels(activation, margin)
    drawn = _drawn(figure, pixels, red, static)
    vocabulary = np.asarray([visible(text) for text in table["vocabulary"]], dtype=object)
    x_title, y_title = figure.layout.xaxis.title.text, figure.layout.yaxis.title.text
    for top in (False, True):  # red is drawn last, over the blue
        chosen = drawn & (red == top)
        lines = f"Top prediction={top}", f"{x_title}=%{{x}}", f"{y_title}=%{{y}}"
        options = {
            "name": str(top),
            "marker_color": TOP_PREDICTION_COLORS[top],
            "hovertext": vocabulary[ids[chosen]],
            "hovertemplate": hover("<b>%{hovertext}</b>", "", *lines),
        }
        figure.add_trace(markers(activation[chosen], margin[chosen], static, len(margin), **options))
    figure.update_layout(showlegend=True, legend_title_text="Top prediction")
    add_box(figure, Labels(frame, pixels), prediction_counts(table.attributes))
    return figure


def _drawn(figure: go.Figure, pixels: np.ndarray, red: np.ndarray, static: bool) -> np.ndarray:
    """Choose the points to be drawn, [n] booleans, and state how many there are."""
    limit, square = (STATIC_LIMIT, 1.0) if static else (BROWSER_LIMIT, ZOOMED_PIXEL)
    if len(red) <= limit:
        add_subtitle(figure, f"all {len(red):,} points drawn" if len(red) else "no activation is positive")
        return np.ones(len(red), dtype=bool)
    if red.sum() <= limit // 2:
        drawn, how = thinned(pixels, red, limit, square), "all red ones, and one of the blue ones wherever they overlap"
    else:
        drawn, how = np.empty(len(red), dtype=bool), "one of each colour wherever they overlap"
        for chosen in (red, ~red):
            drawn[chosen] = thinned(pixels[chosen], np.zeros(chosen.sum(), dtype=bool), limit // 2, square)
    state_thinning(figure, drawn, how)
    return drawn


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
    title = f"Token Embeddings Dot Output Weights of Layer {layer} MLP Neuron {neuron}"
    template = hover("<b>%{hovertext}</b>", "", "Token=%{x}", "Dot Product=%{y}")
    values = table["W_out_dot_W_U"]
    figure = _token_scatter(title, "Dot Product", values, static, hovertext=tokens, hovertemplate=template)
    _label_highest(figure, values, tokens, LABELLED_ALIGNMENTS)
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
    title = "Difference between Top 2 Most Similar Neuron Output Weights for each Token Embedding"
    axis = "Top 2 Dot Product Difference"
    template = hover("<b>%{hovertext}</b>", "", "Token=%{customdata} (%{x})", f"{axis}=%{{y}}")
    figure = _token_scatter(
        title, axis, difference, static, hovertext=neurons, customdata=tokens, hovertemplate=template
    )
    if 3 <= np.nanmax(difference) <= 20:  # outside of it, ticks at each whole number are too few or too many
        figure.update_yaxes(dtick=1)
    _label_highest(figure, difference, tokens, LABELLED_SIMILARITIES)
    return figure


def _token_scatter(title: str, y_title: str, values: np.ndarray, static: bool, **options: Any) -> go.Figure:
    """Return a figure with a point per token, at its id: different ids may have the same text."""
    ids = np.arange(len(values))
    frame = Frame(padded(ids, 0.03), padded(values, 0.08))
    figure = empty_figure(title, "Token", y_title, frame)
    figure.add_trace(markers(ids, values, static, marker_color=MARK_COLOR, **options))
    return figure


def _label_highest(figure: go.Figure, values: np.ndarray, texts: Sequence[str], ranks: slice) -> None:
    """Label the points at these ranks, counted from the highest value."""
    frame = Frame(figure.layout.xaxis.range, figure.layout.yaxis.range)
    chosen = np.argsort(-values, kind="stable")[ranks]
    layout = Labels(frame, frame.pixels(np.arange(len(values)), values))
    annotate(figure, layout, [(index, values[index], texts[index]) for index in chosen], standoff=MARKER_RADIUS)


def _tokens_at(tokens: np.ndarray, pos: int) -> list[str]:
    """Return the different tokens at a position, in order of the prompt pairs that reach it."""
    return list(dict.fromkeys(token for token in tokens[:, pos] if token))


def _position_labels(clean: np.ndarray) -> list[str]:
    """Name each position by its first prompt pair's token, with an ellipsis where other prompt pairs have another."""
    columns = [_tokens_at(clean, pos) for pos in range(clean.shape[1])]
    return [
        f"{pos}. '{visible(column[0], 12) if column else ''}'{'…' if len(column) > 1 else ''}"
        for pos, column in enumerate(columns)
    ]


def _position_texts(clean: np.ndarray, corrupted: np.ndarray) -> list[str]:
    """Say which tokens stand at each position, and by which ones the corrupted prompts replace them."""
    texts = []
    for pos in range(clean.shape[1]):
        before, after = (", ".join(f"'{visible(token)}'" for token in _tokens_at(t, pos)) for t in (clean, corrupted))
        texts.append(f"{pos}. {before}" + (f" (corrupted: {after})" if after != before else ""))
    return texts


def _best_neuron_text(recovery: np.ndarray) -> str:
    """Say that the best neuron stands out only where it does."""
    best = int(np.nanargmax(recovery))
    others = np.delete(recovery, best)
    second = float(np.nanmax(others)) if len(others) else 0.0
    stands_out = recovery[best] > 0 and recovery[best] >= STANDS_OUT * second
    return f"Neuron {best} stands out" if stands_out else f"Neuron {best}: {recovery[best]:.2f}"


def _heat_map_margin(labels: Sequence[str]) -> dict[str, int]:
    """Leave room for the slanted token texts below and for the colour bar on the right."""
    longest = max(text_size(label)[0] for label in labels)
    return {**MARGIN, "r": 110, "b": round(45 + 0.71 * longest)}


def _site_marks(site: str, recovery: np.ndarray) -> list[tuple[float, float, str]]:
    """Return (pos, layer, text) of the cells to be marked in a site's heat map."""
    if site == "attn_out":
        layer, pos = divmod(int(np.nanargmax(recovery)), recovery.shape[1])
        return [(pos, layer, f"Recovery peaks at {recovery[layer, pos]:.2f} (layer {layer})")]
    if site != "mlp_out":
        return []
    strength = np.nan_to_num(np.abs(recovery))
    marks: list[tuple[float, float, str]] = []
    for layer in sorted(np.argsort(-strength.max(axis=1), kind="stable")[:MARKED_LAYERS].tolist()):
        pos = int(strength[layer].argmax())
        significant = "Significant Logit Diff. for " if strength[layer, pos] >= SIGNIFICANT else ""
        marks.append((pos, layer, f"{significant}Layer {layer} MLP: {recovery[layer, pos]:.2f}"))
    return marks
