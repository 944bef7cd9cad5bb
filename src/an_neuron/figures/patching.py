"""Figures of patching sweeps: sites by layer and position, attention heads, the neurons of a layer.

Each function takes the table of one sweep and returns a plotly figure, laid out for the size of the static files.

| function | table |
| --- | --- |
| `patched_site_fig` | patching/{site}.h5, drivers/{site}.h5 |
| `patched_heads_fig` | patching/heads/{site}.h5, drivers/heads_{site}.h5 |
| `patched_neuron_fig` | patching/neurons/layers_{layers}.h5 |
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import MARGIN, Frame, Labels, annotate, padded, text_size
from an_neuron.figures.style import (
    CELL_ARROW_COLOR,
    MARK_COLOR,
    MARKER_RADIUS,
    add_subtitle,
    empty_figure,
    hover,
    markers,
    strong_cells,
    style_heat_map,
)
from an_neuron.files.hdf5 import Table
from an_neuron.files.look import look, named
from an_neuron.files.texts import neuron_name, visible
from an_neuron.patching.layers import of_layer

SITE_TITLES = {"resid_pre": "Residual Stream", "attn_out": "Attention Layer", "mlp_out": "MLP Layer"}
HEAD_SITES = {
    "z": "Outputs (z)",
    "q": "Queries (q)",
    "k": "Keys (k)",
    "v": "Values (v)",
    "pattern": "Patterns (pattern)",
}
LOGIT_DIFFERENCE = "Logit Difference"
STANDS_OUT = 1.5  # times the second best
SIGNIFICANT = 0.1  # of the way from the corrupted to the clean logit difference
MARKED_LAYERS = 2
VISIBLE = 0.05  # of the strongest cell: below it a cell looks like 0


def patched_site_fig(table: Table) -> go.Figure:
    """Draw the recovery after patching one site at each layer and position as a heat map.

    The attention map marks its highest cell, the MLP map the strongest cell of its two most significant layers.

    Parameters
    ----------
    table
        recovery[layer, pos], clean_token[prompt_pair, pos], corrupted_token[prompt_pair, pos]; attribute site, and
        neuron_layer and neuron_index where a neuron's activation was measured.
    """
    recovery, site = table["recovery"], str(table.attributes["site"])
    n_layers, n_pos = recovery.shape
    labels = _position_labels(table["clean_token"])
    frame = Frame((-0.5, n_pos - 0.5), (n_layers - 0.5, -0.5), _heat_map_margin(labels))
    figure = empty_figure(_title(table, SITE_TITLES[site]), "Token", "Layer", frame)
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
    annotate(figure, layout, _site_marks(site, recovery, _measured(table)), arrowcolor=CELL_ARROW_COLOR, arrowwidth=2)
    return figure


def patched_heads_fig(table: Table, limit: float | None = None) -> go.Figure:
    """Draw the recovery after patching one site of each attention head as a heat map, and mark the strongest head.

    Parameters
    ----------
    table
        recovery[layer, head]; attribute site (z, q, k, v or pattern).
    limit
        The recovery at the ends of the colour scale, for maps that are to be compared; by default this map's largest.
    """
    recovery = table["recovery"]
    n_layers, n_heads = recovery.shape
    frame = Frame((-0.5, n_heads - 0.5), (n_layers - 0.5, -0.5), {**MARGIN, "r": 92})
    figure = empty_figure(
        _title(table, f"Attention Heads: {HEAD_SITES[str(table.attributes['site'])]}"), "Head", "Layer", frame
    )
    template = hover("<b>%{y}.%{x}</b>", "", "Layer: %{y}", "Head: %{x}", "Recovery: %{z}")
    figure.add_trace(go.Heatmap(z=recovery, coloraxis="coloraxis", hoverongaps=False, hovertemplate=template))
    style_heat_map(figure, recovery, limit)
    figure.update_xaxes(zeroline=False, tickmode="linear", dtick=1 if n_heads <= 32 else 4)
    layout = Labels(frame, strong_cells(frame, recovery))
    annotate(figure, layout, _head_marks(recovery), arrowcolor=CELL_ARROW_COLOR, arrowwidth=2)
    return figure


def patched_neuron_fig(table: Table, layer: int, static: bool = True) -> go.Figure:
    """Draw the recovery after patching each neuron of one layer, and mark the best.

    Parameters
    ----------
    table
        recovery[layer, d_mlp] (NaN of neurons that were not patched), layer[layer].
    layer
        One of them.
    static
        Draw for a static file, not for a browser.
    """
    whole = of_layer(table, layer)
    neurons = np.flatnonzero(~np.isnan(whole))
    recovery, some = whole[neurons], len(neurons) < len(whole)
    frame = Frame(padded(np.arange(len(whole)), 0.03), padded(recovery, 0.08), {**MARGIN, "t": 80} if some else MARGIN)
    title = _title(table, f"Neurons in MLP Layer {layer}")
    improvement = named("Recovery", "Patch Improvement")
    figure = empty_figure(title, "Neuron", improvement, frame)
    template = hover("Neuron=%{x}", f"{improvement}=%{{y}}")
    figure.add_trace(markers(neurons, recovery, static, marker_color=MARK_COLOR, hovertemplate=template))
    layout = Labels(frame, frame.pixels(neurons, recovery))
    best = int(np.nanargmax(whole))
    annotate(figure, layout, [(best, whole[best], _best_neuron_text(whole))], standoff=MARKER_RADIUS)
    if some:
        add_subtitle(figure, f"{len(neurons):,} of the layer's {len(whole):,} neurons were patched")
    return figure


def _title(table: Table, patched: str) -> str:
    """Say what is recovered, and from which patches; the notebook says what was measured."""
    measured = _measured(table)
    of = "" if measured == LOGIT_DIFFERENCE else f" of the {measured}"
    return named(f"Recovery{of} From Patched {patched}", f"{measured} From Patched {patched}")


def _measured(table: Table) -> str:
    """Say what a sweep measured."""
    of = table.attributes
    if "neuron_layer" not in of:
        return LOGIT_DIFFERENCE
    return f"Activation of {neuron_name(of['neuron_layer'], of['neuron_index'])}"


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
    return {**MARGIN, "r": 92, "b": round(38 + 0.71 * longest / look().scale)}


def _head_marks(recovery: np.ndarray) -> list[tuple[float, float, str]]:
    """Return (head, layer, text) of the strongest head; none where nothing is recovered."""
    if not np.nan_to_num(recovery).any():
        return []
    layer, head = np.unravel_index(int(np.nanargmax(np.abs(recovery))), recovery.shape)
    return [(float(head), float(layer), f"Head {layer}.{head}: {recovery[layer, head]:.2f}")]


def _site_marks(site: str, recovery: np.ndarray, measured: str) -> list[tuple[float, float, str]]:
    """Return (pos, layer, text) of the cells to be marked in a site's heat map; none where nothing happens."""
    if not np.nan_to_num(recovery).any():
        return []
    if site == "attn_out":
        layer, pos = divmod(int(np.nanargmax(recovery)), recovery.shape[1])
        return [(pos, layer, f"Recovery peaks at {recovery[layer, pos]:.2f} (layer {layer})")]
    if site != "mlp_out":
        return []
    strength = np.nan_to_num(np.abs(recovery))
    marks: list[tuple[float, float, str]] = []
    for layer in sorted(np.argsort(-strength.max(axis=1), kind="stable")[:MARKED_LAYERS].tolist()):
        pos = int(strength[layer].argmax())
        if strength[layer, pos] < VISIBLE * strength.max():
            continue
        of_logits = measured == LOGIT_DIFFERENCE and strength[layer, pos] >= SIGNIFICANT
        significant = named("", "Significant Logit Diff. for ") if of_logits else ""
        marks.append((pos, layer, f"{significant}Layer {layer} MLP: {recovery[layer, pos]:.2f}"))
    return marks
