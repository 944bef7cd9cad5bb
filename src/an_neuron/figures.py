"""The eight figures: each function takes one result table and returns a plotly figure.

Titles, axes and colours are those of *We Found An Neuron*; what names a study (layer, neuron, token) is read from the
table, and each annotation points at a value found in the data. Labels are laid out for the size of the static
files, `WIDTH` × `HEIGHT` pixels. Functions with a parameter `static` differ by output: for a static file they draw
vector graphics, for a browser WebGL where there are many points.

| function | table |
| --- | --- |
| `logit_lens_fig` | logit_lens.h5 |
| `patched_site_fig` | patching/{site}.h5 |
| `patched_neuron_fig` | patching/neurons/layer_{layer}.h5 |
| `logit_activation_fig` | activations of one neuron, with the margins of one token |
| `neuron_dot_vocab_fig` | alignment/neuron_{layer}_{index}.h5 |
| `most_similar_neurons_fig` | alignment/top_neurons.h5 |
"""

import html
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.hdf5 import Table

WIDTH, HEIGHT = 1048, 512
TEMPLATE = "plotly"
COLOR_SCALE = "RdBu"
MARK_COLOR = "#636efa"
REFERENCE_COLOR = "#444444"
TOP_PREDICTION_COLORS = {False: "blue", True: "red"}
CELL_ARROW_COLOR = "darkorange"  # seen on dark cells as on light ones
LABEL_BACKGROUND = "rgba(255, 255, 255, 0.75)"

SITE_TITLES = {
    "resid_pre": "Logit Difference From Patched Residual Stream",
    "attn_out": "Logit Difference From Patched Attention Layer",
    "mlp_out": "Logit Difference From Patched MLP Layer",
}

STANDS_OUT = 1.5  # times the second best
SIGNIFICANT = 0.1  # of the way from the corrupted to the clean logit difference
MARKED_LAYERS = 2
LABELLED_ALIGNMENTS = slice(7)
LABELLED_SIMILARITIES = slice(0, 21, 3)
WEBGL_ABOVE = 5_000  # points in a browser
STATIC_LIMIT = 50_000  # points in a static file; above it the blue ones are thinned

MARKER_RADIUS = 3
FONT_SIZE = 12
CHARACTER_WIDTH, LINE_HEIGHT = 7.0, 17.0
MARGIN = {"l": 90, "r": 40, "t": 70, "b": 70}
MADE_VISIBLE = {"\n": "↵", "\t": "⇥"}

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels from the plot's upper left corner


# The six functions


def logit_lens_fig(table: Table) -> go.Figure:
    """Draw the mean logit difference read from the residual stream at each half layer.

    Parameters
    ----------
    table
        x[point], mean_logit_difference[point], point_label[point], model_logit_difference[pair].
    """
    x, y = table["x"], table["mean_logit_difference"]
    own = float(np.nanmean(table["model_logit_difference"]))
    frame = Frame(_padded(x, 0.02), _padded(np.append(y, own), 0.12))
    figure = _figure("Logit Difference From Residual Stream", "Layer", "Logit Difference", frame)
    labels = [_visible(label) for label in table["point_label"]]
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines",
            line_color=MARK_COLOR,
            hovertext=labels,
            hovertemplate=_hover("<b>%{hovertext}</b>", "", "Layer=%{x}", "Logit Difference=%{y}"),
        )
    )
    layout = Labels(frame, _along(frame.pixels(x, y)))
    _add_reference(figure, layout, own, f"Model's own logit difference: {own:.2f}")
    peak = int(np.nanargmax(y))
    verb = "spikes to" if 0 < peak < len(y) - 1 else "peaks at"
    _annotate(figure, layout, [(x[peak], y[peak], f"Logit Difference {verb} {y[peak]:.2f}")])
    return figure


def patched_site_fig(table: Table) -> go.Figure:
    """Draw the recovery after patching one site at each layer and position as a heat map.

    The attention map marks its highest cell, the MLP map the strongest cell of its two most significant layers.

    Parameters
    ----------
    table
        recovery[layer, pos], clean_token[pair, pos], corrupted_token[pair, pos]; attribute site.
    """
    recovery, site = table["recovery"], str(table.attributes["site"])
    n_layers, n_pos = recovery.shape
    labels = _position_labels(table["clean_token"])
    frame = Frame((-0.5, n_pos - 0.5), (n_layers - 0.5, -0.5), _heat_map_margin(labels))
    figure = _figure(SITE_TITLES[site], "Token", "Layer", frame)
    texts = _position_texts(table["clean_token"], table["corrupted_token"])
    figure.add_trace(
        go.Heatmap(
            z=recovery,
            x=labels,
            customdata=np.broadcast_to(np.asarray(texts, dtype=object), recovery.shape),
            coloraxis="coloraxis",
            hoverongaps=False,
            hovertemplate=_hover("Token: %{customdata}", "Layer: %{y}", "Recovery: %{z}"),
        )
    )
    figure.update_layout(coloraxis=_color_axis(recovery))
    figure.update_xaxes(type="category", tickmode="array", tickvals=labels, tickangle=-45, showgrid=False)
    figure.update_yaxes(showgrid=False, zeroline=False, tickmode="linear", dtick=1 if n_layers <= 16 else 5)
    layout = Labels(frame, _strong_cells(frame, recovery))
    _annotate(figure, layout, _site_marks(site, recovery), arrowcolor=CELL_ARROW_COLOR, arrowwidth=2)
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
    frame = Frame(_padded(neurons, 0.03), _padded(recovery, 0.08))
    title = f"Logit Difference From Patched Neurons in MLP Layer {table.attributes['layer']}"
    figure = _figure(title, "Neuron", "Patch Improvement", frame)
    template = _hover("Neuron=%{x}", "Patch Improvement=%{y}")
    figure.add_trace(_markers(neurons, recovery, static, marker_color=MARK_COLOR, hovertemplate=template))
    layout = Labels(frame, frame.pixels(neurons, recovery))
    best = int(np.nanargmax(recovery))
    _annotate(figure, layout, [(best, recovery[best], _best_neuron_text(recovery))], standoff=MARKER_RADIUS)
    return figure


def logit_activation_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw a neuron's positive activations against a token's margin, in red where the token is the top prediction.

    With more than `STATIC_LIMIT` points a static figure keeps every red one and of the blue ones that fall on the same
    spot one; its subtitle says how many are drawn. For a browser all are drawn.

    Parameters
    ----------
    table
        activation[row, pos], margin[row, pos], token_id[row, pos], vocabulary[d_vocab]; attributes layer, neuron,
        token, top_predictions, occurrences.
    static
        Draw for a static file, not for a browser.
    """
    attributes = table.attributes
    neuron, token = f"Layer {attributes['layer']} Neuron {attributes['neuron']}", _visible(attributes["token"])
    positive = table["activation"] > 0
    activation, margin = table["activation"][positive], table["margin"][positive]
    ids = table["token_id"][positive]
    frame = Frame(_padded(activation, 0.03), _padded(margin, 0.05), {**MARGIN, "t": 80, "r": 140})
    x_title, y_title = f"{neuron} activation", f'"{token}" Logit - Max Other Logit'
    title = f'{neuron} activations (>=0) vs. "{token}" Logit subtract Top Other Logit'
    figure = _figure(title, x_title, y_title, frame)
    pixels = frame.pixels(activation, margin)
    drawn = _thinned(pixels, margin > 0) if static else np.ones(len(margin), dtype=bool)
    vocabulary = np.asarray([_visible(text) for text in table["vocabulary"]], dtype=object)
    for top in (False, True):  # red is drawn last, over the blue
        chosen = drawn & ((margin > 0) == top)
        lines = f"Top prediction={top}", f"{x_title}=%{{x}}", f"{y_title}=%{{y}}"
        options = {
            "name": str(top),
            "marker_color": TOP_PREDICTION_COLORS[top],
            "hovertext": vocabulary[ids[chosen]],
            "hovertemplate": _hover("<b>%{hovertext}</b>", "", *lines),
        }
        figure.add_trace(_markers(activation[chosen], margin[chosen], static, **options))
    figure.update_layout(showlegend=True, legend_title_text="Top prediction")
    _state_thinning(figure, drawn)
    _add_counts(figure, frame, pixels, attributes)
    return figure


def neuron_dot_vocab_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw a neuron's output weights times each token's unembedding, and label the seven best tokens.

    Parameters
    ----------
    table
        W_out_dot_W_U[d_vocab], token[d_vocab]; attributes layer, neuron.
    static
        Draw for a static file, not for a browser.
    """
    layer, neuron = table.attributes["layer"], table.attributes["neuron"]
    tokens = _token_labels(table["token"])
    title = f"Token Embeddings Dot Output Weights of Layer {layer} MLP Neuron {neuron}"
    template = _hover("<b>%{hovertext}</b>", "", "Token=%{x}", "Dot Product=%{y}")
    values = table["W_out_dot_W_U"]
    figure = _token_scatter(title, "Dot Product", values, static, hovertext=tokens, hovertemplate=template)
    _label_highest(figure, values, tokens, LABELLED_ALIGNMENTS)
    return figure


def most_similar_neurons_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw for each token by how much its best neuron beats its second best, and label every third of the top 21.

    Parameters
    ----------
    table
        value[d_vocab, 2], layer[d_vocab, 2], neuron[d_vocab, 2], token[d_vocab].
    static
        Draw for a static file, not for a browser.
    """
    difference = table["value"][:, 0] - table["value"][:, 1]
    pairs = np.stack([table["layer"], table["neuron"]], axis=-1)
    neurons = [f"Layer: {a}, Neuron: {b} - Layer: {c}, Neuron: {d}" for (a, b), (c, d) in pairs.tolist()]
    tokens = _token_labels(table["token"])
    title = "Difference between Top 2 Most Similar Neuron Output Weights for each Token Embedding"
    axis = "Top 2 Dot Product Difference"
    template = _hover("<b>%{hovertext}</b>", "", "Token=%{customdata} (%{x})", f"{axis}=%{{y}}")
    figure = _token_scatter(
        title, axis, difference, static, hovertext=neurons, customdata=tokens, hovertemplate=template
    )
    if 3 <= np.nanmax(difference) <= 20:  # outside of it, ticks at each whole number are too few or too many
        figure.update_yaxes(dtick=1)
    _label_highest(figure, difference, tokens, LABELLED_SIMILARITIES)
    return figure


# Layout


@dataclass(frozen=True)
class Frame:
    """The data ranges of a figure's axes and its margins: where a value lies in a static file."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    margin: dict[str, int] = field(default_factory=lambda: dict(MARGIN))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the plot area in pixels."""
        return WIDTH - self.margin["l"] - self.margin["r"], HEIGHT - self.margin["t"] - self.margin["b"]

    def pixels(self, x: Any, y: Any) -> np.ndarray:
        """Return where values lie, [n, 2] pixels right of and below the plot's upper left corner."""
        (left, right), (bottom, top), (width, height) = self.x_range, self.y_range, self.size
        across = (np.atleast_1d(x).astype(float) - left) / (right - left) * width
        down = (top - np.atleast_1d(y).astype(float)) / (top - bottom) * height
        return np.column_stack([across, down])


@dataclass
class Labels:
    """Keeps labels inside the plot and off the drawn points, and off each other."""

    frame: Frame
    obstacles: np.ndarray  # [n, 2] pixels
    placed: list[Box] = field(default_factory=list)

    def cost(self, box: Box) -> float:
        """Count the points under a box; labels under it, or parts outside of the plot, weigh far more."""
        left, top, right, bottom = box
        width, height = self.frame.size
        outside = left < 2 or top < 2 or right > width - 2 or bottom > height - 2
        return 1e6 * outside + 1e5 * sum(_overlap(box, other) for other in self.placed) + _within(self.obstacles, box)

    def put(self, boxes: Iterable[Box]) -> Box:
        """Take the cheapest box, the first of equals."""
        best = min(boxes, key=self.cost)
        self.placed.append(best)
        return best

    def beside(self, anchor: np.ndarray, text: str, others: np.ndarray) -> tuple[float, float]:
        """Return the offset in pixels, from the point that it labels, of a label's centre."""
        candidates = [(offset, _box(anchor + offset, text), far) for offset, far in _offsets(text)]

        def price(candidate: tuple[np.ndarray, Box, float]) -> float:
            offset, box, far = candidate
            arrow = anchor + np.linspace(0.0, 1.0, 12)[1:, None] * offset
            crossed = sum(_within(arrow, other) > 0 for other in self.placed)
            return self.cost(box) + 1e3 * _within(others, box) + 1e2 * crossed + 0.1 * far

        offset, box, _ = min(candidates, key=price)
        self.placed.append(box)
        return float(offset[0]), float(offset[1])


def _figure(title: str, x_title: str, y_title: str, frame: Frame) -> go.Figure:
    """Return an empty figure in the shared style."""
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title={"text": title, "x": 0.05},
        margin=frame.margin,
        font_size=FONT_SIZE,
        showlegend=False,
        xaxis={"title": {"text": x_title}, "range": frame.x_range},
        yaxis={"title": {"text": y_title}, "range": frame.y_range, "ticklabelstandoff": 4},
    )
    return figure


def _markers(x: np.ndarray, y: np.ndarray, static: bool, **options: Any) -> Any:
    """Return a scatter trace, in WebGL when a browser would draw many points."""
    kind = go.Scattergl if not static and len(x) > WEBGL_ABOVE else go.Scatter
    return kind(x=x, y=y, mode="markers", **options)


def _token_scatter(title: str, y_title: str, values: np.ndarray, static: bool, **options: Any) -> go.Figure:
    """Return a figure with a point per token, at its id: different ids may have the same text."""
    ids = np.arange(len(values))
    frame = Frame(_padded(ids, 0.03), _padded(values, 0.08))
    figure = _figure(title, "Token", y_title, frame)
    figure.add_trace(_markers(ids, values, static, marker_color=MARK_COLOR, **options))
    return figure


def _label_highest(figure: go.Figure, values: np.ndarray, texts: Sequence[str], ranks: slice) -> None:
    """Label the points at these ranks, counted from the highest value."""
    frame = Frame(figure.layout.xaxis.range, figure.layout.yaxis.range)
    chosen = np.argsort(-values, kind="stable")[ranks]
    layout = Labels(frame, frame.pixels(np.arange(len(values)), values))
    _annotate(figure, layout, [(index, values[index], texts[index]) for index in chosen], standoff=MARKER_RADIUS)


def _annotate(figure: go.Figure, layout: Labels, marks: Sequence[tuple[float, float, str]], **arrow: Any) -> None:
    """Add a label with an arrow to each (x, y, text)."""
    if not marks:
        return
    anchors = layout.frame.pixels([x for x, _, _ in marks], [y for _, y, _ in marks])
    for (x, y, text), anchor in zip(marks, anchors, strict=True):
        across, down = layout.beside(anchor, text, anchors)
        figure.add_annotation(
            x=float(x),
            y=float(y),
            text=text,
            showarrow=True,
            arrowhead=1,
            ax=across,
            ay=down,
            xanchor="center",
            yanchor="middle",
            bgcolor=LABEL_BACKGROUND,
            **arrow,
        )


def _add_reference(figure: go.Figure, layout: Labels, value: float, text: str) -> None:
    """Add a dashed horizontal line, and its label where the curve leaves most room."""
    figure.add_hline(y=value, line_dash="dash", line_color=REFERENCE_COLOR, line_width=1)
    width, height = _text_size(text)
    level = float(layout.frame.pixels(0, value)[0, 1])
    lefts = np.linspace(4, layout.frame.size[0] - width - 4, 12)
    tops = (level - height - 2, level + 2)
    left, top, right, bottom = layout.put((x, y, x + width, y + height) for x in lefts for y in tops)
    layout.obstacles = np.vstack([layout.obstacles, _along(np.array([[0.0, level], [layout.frame.size[0], level]]))])
    _add_text(figure, layout.frame, ((left + right) / 2, (top + bottom) / 2), text=text, font_color=REFERENCE_COLOR)


def _add_counts(figure: go.Figure, frame: Frame, pixels: np.ndarray, attributes: dict[str, Any]) -> None:
    """Add the box with the counts where it covers fewest points."""
    text = f"Top predictions: {attributes['top_predictions']}<br>Actual occurrences: {attributes['occurrences']}"
    width, height = _text_size(text, 14)
    lefts, tops = (
        np.linspace(8, side - size - 8, steps)
        for side, size, steps in zip(frame.size, (width, height), (12, 8), strict=True)
    )
    boxes = ((x, y, x + width, y + height) for y in tops[::-1] for x in lefts[::-1])
    left, top, right, bottom = Labels(frame, pixels).put(boxes)
    _add_text(
        figure,
        frame,
        ((left + right) / 2, (top + bottom) / 2),
        text=text,
        font={"size": 14, "color": "#ffffff"},
        align="left",
        bordercolor="#c7c7c7",
        borderwidth=2,
        borderpad=4,
        bgcolor="grey",
    )


def _add_text(figure: go.Figure, frame: Frame, centre: tuple[float, float], **options: Any) -> None:
    """Add a text without an arrow that stays at its place in the plot area."""
    width, height = frame.size
    place = {"x": centre[0] / width, "y": 1 - centre[1] / height, "xref": "x domain", "yref": "y domain"}
    figure.add_annotation(showarrow=False, xanchor="center", yanchor="middle", **place, **options)


def _offsets(text: str) -> Iterable[tuple[np.ndarray, float]]:
    """Yield offsets of a label's centre around its point, near ones first, with the length of the arrow."""
    half = np.array(_text_size(text)) / 2
    for far in (16, 26, 38, 52, 70, 95, 125, 160, 200, 250):
        for angle in np.arange(16) * np.pi / 8 - np.pi / 2:  # above first
            yield np.array([np.cos(angle), np.sin(angle)]) * (half + far), far


def _box(centre: np.ndarray, text: str) -> Box:
    (x, y), (width, height) = centre, _text_size(text)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _text_size(text: str, font_size: int = FONT_SIZE) -> tuple[float, float]:
    """Estimate the pixels that a text takes, with a little room around it."""
    lines = html.unescape(text).split("<br>")
    longest = max(sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line) for line in lines)
    scale = font_size / FONT_SIZE
    return longest * CHARACTER_WIDTH * scale + 10, len(lines) * LINE_HEIGHT * scale + 6


def _overlap(box: Box, other: Box) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def _within(points: np.ndarray, box: Box) -> int:
    x, y = points.T
    return int(np.count_nonzero((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])))


def _along(corners: np.ndarray, step: float = 4.0) -> np.ndarray:
    """Return points every few pixels along a line through [n, 2] corners."""
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    far = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.arange(0.0, far[-1], step)
    return np.column_stack([np.interp(at, far, corners[:, axis]) for axis in (0, 1)])


def _padded(values: np.ndarray, share: float) -> tuple[float, float]:
    """Return the range of finite values, widened on each side; that of none is 0 to 1."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    room = share * (high - low) or 0.5
    return low - room, high + room


# Texts


def _visible(text: Any, length: int | None = None) -> str:
    """Return a text as plotly shows it letter by letter: no markup, line breaks and control characters visible."""
    text = str(text)[:length]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else MADE_VISIBLE.get(c, c.encode("unicode_escape").decode()) for c in text)
    return html.escape(text, quote=False)


def _hover(*lines: str) -> str:
    return "<br>".join(lines) + "<extra></extra>"


def _token_labels(tokens: Iterable[str]) -> list[str]:
    return [f"'{_visible(token, 10)}'" for token in tokens]


def _tokens_at(tokens: np.ndarray, pos: int) -> list[str]:
    """Return the different tokens at a position, in order of the pairs that reach it."""
    return list(dict.fromkeys(token for token in tokens[:, pos] if token))


def _position_labels(clean: np.ndarray) -> list[str]:
    """Name each position by its first pair's token, with an ellipsis where other pairs have another."""
    columns = [_tokens_at(clean, pos) for pos in range(clean.shape[1])]
    return [
        f"{pos}. '{_visible(column[0], 12) if column else ''}'{'…' if len(column) > 1 else ''}"
        for pos, column in enumerate(columns)
    ]


def _position_texts(clean: np.ndarray, corrupted: np.ndarray) -> list[str]:
    """Say which tokens stand at each position, and by which ones the corrupted prompts replace them."""
    texts = []
    for pos in range(clean.shape[1]):
        before, after = (", ".join(f"'{_visible(token)}'" for token in _tokens_at(t, pos)) for t in (clean, corrupted))
        texts.append(f"{pos}. {before}" + (f" (corrupted: {after})" if after != before else ""))
    return texts


def _best_neuron_text(recovery: np.ndarray) -> str:
    """Say that the best neuron stands out only where it does."""
    best = int(np.nanargmax(recovery))
    others = np.delete(recovery, best)
    second = float(np.nanmax(others)) if len(others) else 0.0
    stands_out = recovery[best] > 0 and recovery[best] >= STANDS_OUT * second
    return f"Neuron {best} stands out" if stands_out else f"Neuron {best}: {recovery[best]:.2f}"


# Heat maps and thinning


def _heat_map_margin(labels: Sequence[str]) -> dict[str, int]:
    """Leave room for the slanted token texts below and for the colour bar on the right."""
    longest = max(_text_size(label)[0] for label in labels)
    return {**MARGIN, "r": 110, "b": round(45 + 0.71 * longest)}


def _color_axis(recovery: np.ndarray) -> dict[str, Any]:
    """Centre the colours at 0; the ends lie a little beyond the values, so that the last tick keeps off the title."""
    limit = 1.06 * float(np.nanmax(np.abs(recovery))) or 1.0
    bar = {"title": {"text": "Recovery"}}
    return {"colorscale": COLOR_SCALE, "cmid": 0, "cmin": -limit, "cmax": limit, "colorbar": bar}


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


def _strong_cells(frame: Frame, recovery: np.ndarray) -> np.ndarray:
    """Return points spread over the cells that a label should not hide."""
    strength = np.nan_to_num(np.abs(recovery))
    layers, positions = np.nonzero(strength > 0.15 * strength.max())
    spread = np.linspace(-0.45, 0.45, 7)
    return np.vstack([np.empty((0, 2))] + [frame.pixels(positions + dx, layers + dy) for dx in spread for dy in spread])


def _thinned(pixels: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Choose what to draw: all points to be kept, and one of the others per square of a pixel or, if need be, more."""
    drawn = np.ones(len(pixels), dtype=bool)
    others = max(STATIC_LIMIT - int(keep.sum()), STATIC_LIMIT // 10)
    square = 1.0
    while len(drawn) > STATIC_LIMIT and (drawn & ~keep).sum() > others:
        cells = np.floor(pixels / square).astype(np.int64)
        _, first = np.unique(cells[:, 0] * 100_000 + cells[:, 1] + keep * 10**12, return_index=True)
        drawn = keep.copy()
        drawn[first] = True
        square *= 1.25
    return drawn


def _state_thinning(figure: go.Figure, drawn: np.ndarray) -> None:
    if not drawn.all():
        how = "all red ones, and one of the blue ones wherever they overlap"
        text = f"{drawn.sum():,} of {len(drawn):,} points drawn: {how}"
        figure.update_layout(title={"subtitle": {"text": text}})
