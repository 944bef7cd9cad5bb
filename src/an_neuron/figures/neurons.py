"""Figures of every neuron of the model: their recovery, and attribution patching held against exact patching.

A model has far more neurons than a figure has pixels: a static file draws one of those that overlap, and every one that
is large; the subtitle states how many are drawn.

| function | table |
| --- | --- |
| `neuron_map_fig` | patching/neurons/map.h5 |
| `attribution_fig` | patching/neurons/attribution.h5 |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import MARGIN, Frame, Labels, add_box, add_text, along, annotate, padded, text_size
from an_neuron.figures.style import (
    REFERENCE_COLOR,
    STRONG_COLOR,
    add_subtitle,
    drawn_of,
    empty_figure,
    hover,
    markers,
    state_thinning,
)
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import spellings_of, token_labels
from an_neuron.patching.screened import CONFIDENCE_SAID

QUIET_COLORS = ("#6f83ad", "#a9b4c9")  # of the layers, in turns
QUIET_SIZE, STRONG_SIZE = 4, 7
ALWAYS_DRAWN = 1_000  # of the largest; none of them gives way to a neighbour
LABELLED_NEURONS = 8
LABELLED_MISSES = 5
LABEL_SHARE = 0.05  # of the largest: below it a point hardly leaves the band at 0
LABEL_TIMES_TYPICAL = 8  # times the median of all
MISS_SHARE = 0.02  # of the axis: below it a point touches the line
LEAST_RANKED = 3  # neurons; of fewer a rank correlation says nothing, and none is measured
TICK_PIXELS = 20  # the least room for a layer's number


def neuron_map_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw the recovery after patching each neuron of the model, layer beside layer, and label those that stand out.

    Neurons of the table's list are red and larger. A static file of many points draws them, the `ALWAYS_DRAWN`
    largest and of the others one wherever they overlap; a browser draws all up to its limit.

    Parameters
    ----------
    table
        recovery[layer, d_mlp] (NaN of neurons that were not patched), layer[layer] (which were swept), top_layer[rank],
        top_index[rank], top_tokens[rank, k]; attributes answer, foil, precision, measured_again, error_median, and
        those of `screened.SCREENING`.
    static
        Draw for a static file, not for a browser.
    """
    patched, d_mlp = np.flatnonzero(~np.isnan(table["recovery"])), table["recovery"].shape[1]
    x, recovery = patched / d_mlp, table["recovery"].ravel()[patched]  # layers that were not swept leave no gap
    neurons = Neurons(table["layer"], d_mlp, patched, x, recovery)
    n_layers = len(neurons.layers)
    said = [line for line in (_precision(table.attributes), *_screened(table.attributes)) if line]
    room = {**MARGIN, "t": 100 if said else 80}
    frame = Frame((-0.01 * n_layers, 1.01 * n_layers), padded(recovery, 0.08), room)
    figure = empty_figure("Recovery From Each Patched Neuron", "Layer", "Recovery", frame)
    tokens = _listed_tokens(table, neurons)
    listed = neurons.among(list(tokens))
    pixels = frame.pixels(x, recovery)
    drawn = _drawn(figure, pixels, np.abs(recovery), listed, static)
    for parity, color in enumerate(QUIET_COLORS):
        quiet = np.flatnonzero(drawn & ~listed & (x.astype(int) % 2 == parity))
        figure.add_trace(neurons.trace(quiet, static, ["Recovery=%{y:.5f}"], color, QUIET_SIZE))
    lines = ["Recovery=%{y:.5f}", "Raised tokens=%{hovertext}"]
    texts = [", ".join(token_labels(texts)) for texts in tokens.values()]
    figure.add_trace(neurons.trace(list(tokens), static, lines, STRONG_COLOR, STRONG_SIZE, hovertext=texts))
    _name_layers(figure, frame, neurons.layers)
    _mark_threshold(figure, table.attributes)
    compared = table.attributes["answer"], table.attributes["foil"]
    marks = [(x[i], recovery[i], _label(neurons, i, tokens, compared)) for i in _standing_out(recovery)]
    labels = Labels(frame, pixels[drawn], important=pixels[listed])
    annotate(figure, labels, marks, standoff=STRONG_SIZE / 2)
    if said:
        add_subtitle(figure, "<br>".join(filter(None, [figure.layout.title.subtitle.text, *said])))
    return figure


def attribution_fig(table: Table, static: bool = True) -> go.Figure:
    """Draw each neuron's exact recovery against attribution patching's estimate, and label the worst misses.

    Both axes have the same range, so the line at which both agree runs from corner to corner. A static file with more
    than `TELLABLE` points draws the `ALWAYS_DRAWN` largest (by the larger of both values), the labelled ones, and
    of the others one wherever they overlap; a browser draws all up to its limit.

    Parameters
    ----------
    table
        exact[layer, d_mlp] (NaN of neurons that were not patched), approximate[layer, d_mlp], layer[layer] (which were
        swept); attributes floor, n_above_floor, rank_correlation, n_top, rank_correlation_top.
    static
        Draw for a static file, not for a browser.
    """
    patched = np.flatnonzero(~np.isnan(table["exact"]))
    exact, approximate = (table[name].ravel()[patched] for name in ("exact", "approximate"))
    neurons = Neurons(table["layer"], table["exact"].shape[1], patched, exact, approximate)
    ends = padded(np.append(exact, approximate), 0.05)
    frame = Frame(ends, ends, {**MARGIN, "t": 80})
    axes = "Recovery by Exact Patching", "Recovery by Attribution Patching"
    figure = empty_figure("Exact Patching Against Attribution Patching", *axes, frame)
    misses = _worst_misses(exact, approximate, MISS_SHARE * (ends[1] - ends[0]))
    missed, pixels = neurons.among(misses), frame.pixels(exact, approximate)
    drawn = _drawn(figure, pixels, np.maximum(np.abs(exact), np.abs(approximate)), missed, static)
    lines = ["Exact=%{x:.5f}", "Attribution=%{y:.5f}"]
    for chosen, color, size in ((drawn & ~missed, QUIET_COLORS[0], QUIET_SIZE), (missed, STRONG_COLOR, STRONG_SIZE)):
        figure.add_trace(neurons.trace(np.flatnonzero(chosen), static, lines, color, size))
    labels = Labels(frame, np.vstack([pixels[drawn], along(frame.pixels(ends, ends))]), important=pixels[missed])
    _add_agreement(figure, labels)
    add_box(figure, labels, _correlations(table.attributes, exact.size))
    annotate(figure, labels, [(exact[i], approximate[i], neurons.name(i)) for i in misses], standoff=STRONG_SIZE / 2)
    if len(patched) < table["exact"].size:
        counted = f"{len(patched):,} of {table['exact'].size:,} neurons were patched"
        add_subtitle(figure, "<br>".join(filter(None, [figure.layout.title.subtitle.text, counted])))
    return figure


@dataclass(frozen=True)
class Neurons:
    """The neurons of the swept layers that were patched, and where their points lie."""

    layers: np.ndarray  # [layer], each one's number in the model
    d_mlp: int
    patched: np.ndarray  # [neuron], each one's number, counted layer by layer
    x: np.ndarray  # [neuron]
    y: np.ndarray  # [neuron]

    def places(self, numbers: np.ndarray) -> np.ndarray:
        """Return the layer of each neuron and its index there, [n, 2]."""
        rows, index = np.divmod(self.patched[numbers], self.d_mlp)
        return np.column_stack([self.layers[rows], index]).astype(np.int32)

    def name(self, number: int) -> str:
        """Return layer.index."""
        return "{}.{}".format(*self.places(np.array([number]))[0])

    def among(self, numbers: list[int]) -> np.ndarray:
        """Return which neurons are in a list, [neuron] booleans."""
        return np.isin(np.arange(self.x.size), numbers)

    def trace(
        self, numbers: Sequence[int] | np.ndarray, static: bool, lines: list[str], color: str, size: int, **options: Any
    ) -> Any:
        """Return the points of some neurons; `lines` are shown under the pointer, after layer and index."""
        chosen = np.asarray(numbers, dtype=int)
        template = hover("Layer=%{customdata[0]}", "Neuron=%{customdata[1]}", *lines)
        x, y = (values[chosen].astype(np.float32) for values in (self.x, self.y))  # half of a browser's file
        options |= {"marker": {"color": color, "size": size}, "hovertemplate": template}
        return markers(x, y, static, self.x.size, customdata=self.places(chosen), **options)


def _precision(attributes: dict[str, Any]) -> str:
    """Say how exact the values are, where not all of them are float32."""
    if attributes.get("precision", "highest") == "highest":
        return ""
    return (
        f"Products in {attributes['precision']}, off by {attributes['error_median']:.1%} (median); the "
        f"{attributes['measured_again']:,} measured again, the largest among them, in float32"
    )


def _screened(attributes: dict[str, Any]) -> list[str]:
    """Say how many neurons were patched, and what may have been missed, where a screen chose them."""
    if not attributes.get("screened", 0):
        return []
    first, drawn, left, at_most = (int(attributes[name]) for name in ("screened", "drawn", "unmeasured", "at_most"))
    counted = f"{first + drawn:,} of {first + drawn + left:,}"
    return [
        f"{counted} patched: {first:,} that attribution puts first, {drawn:,} drawn at random",
        f"Of the others at most {at_most:,} lie beyond the dotted lines, ±{attributes['least']:.2g} "
        f"({CONFIDENCE_SAID} confidence)",
    ]


def _mark_threshold(figure: go.Figure, attributes: dict[str, Any]) -> None:
    """Draw the recovery up to which the bound on neurons that were not patched holds, in either direction."""
    if attributes.get("screened", 0):
        for level in (attributes["least"], -attributes["least"]):
            figure.add_hline(y=level, line_dash="dot", line_color=REFERENCE_COLOR, line_width=1, layer="below")


def _drawn(figure: go.Figure, pixels: np.ndarray, strength: np.ndarray, keep: np.ndarray, static: bool) -> np.ndarray:
    """Choose the points to be drawn, [n] booleans, and state it: the strongest, `keep`, and a share of the others."""
    always = keep.copy()
    always[np.argsort(-strength, kind="stable")[:ALWAYS_DRAWN]] = True
    drawn = drawn_of(pixels, always, static)
    how = f"one of those that overlap, and the {ALWAYS_DRAWN:,} largest in size"
    state_thinning(figure, drawn, how)
    return drawn


def _listed_tokens(table: Table, neurons: Neurons) -> dict[int, list[str]]:
    """Return the tokens that patching each neuron in the table's list raised most, by its number."""
    rows = {int(layer): row for row, layer in enumerate(neurons.layers)}
    listed = zip(table["top_layer"].tolist(), table["top_index"].tolist(), table["top_tokens"].tolist(), strict=True)
    of_all = {rows[layer] * neurons.d_mlp + index: tokens for layer, index, tokens in listed}
    return dict(zip(np.searchsorted(neurons.patched, list(of_all)).tolist(), of_all.values(), strict=True))


def _standing_out(recovery: np.ndarray) -> list[int]:
    """Return the neurons to be labelled, strongest first: those far from the band of the others, but at least one."""
    strength = np.abs(recovery)
    least = max(LABEL_SHARE * float(strength.max()), LABEL_TIMES_TYPICAL * float(np.median(strength)))
    strongest = np.argsort(-strength, kind="stable")[:LABELLED_NEURONS].tolist()
    return strongest[:1] + [number for number in strongest[1:] if strength[number] >= least]


def _label(neurons: Neurons, number: int, tokens: dict[int, list[str]], compared: tuple[str, str]) -> str:
    """Return a neuron's name and, where patching it raised the answer or the foil, or a spelling of one, that token."""
    return "  ".join([neurons.name(number), *token_labels(spellings_of(compared, tokens.get(number, []))[:1])])


def _name_layers(figure: go.Figure, frame: Frame, layers: np.ndarray) -> None:
    """Name each layer below the middle of its neurons, or every few where the numbers would touch."""
    step = int(np.ceil(TICK_PIXELS * len(layers) / frame.size[0]))
    rows = np.arange(0, len(layers), step)
    ticks = {"tickmode": "array", "tickvals": rows + 0.5, "ticktext": [str(layer) for layer in layers[rows]]}
    figure.update_xaxes(showgrid=False, zeroline=False, tickangle=0, **ticks)


def _worst_misses(exact: np.ndarray, approximate: np.ndarray, least: float) -> list[int]:
    """Return the neurons farthest from the line, worst first, as far as the distance can be seen."""
    miss = np.abs(approximate - exact)
    worst = np.argsort(-miss, kind="stable")[:LABELLED_MISSES]
    return worst[miss[worst] >= least].tolist()


def _add_agreement(figure: go.Figure, labels: Labels) -> None:
    """Add the line at which both values agree, and its name where the points leave most room."""
    (low, high), text = labels.frame.x_range, "y = x"
    line = {"color": REFERENCE_COLOR, "width": 1}
    figure.add_shape(type="line", x0=low, y0=low, x1=high, y1=high, line=line)
    width, height = text_size(text)
    share = np.linspace(0.8, 0.2, 13)  # of the way along the line, on its upper side
    corners = labels.frame.pixels(low + share * (high - low), low + share * (high - low))
    left, top, right, bottom = labels.put((x - width, y - height, x, y) for x, y in corners.tolist())
    centre = (left + right) / 2, (top + bottom) / 2
    add_text(figure, labels.frame, centre, text=text, font_color=REFERENCE_COLOR)


def _correlations(attributes: dict[str, Any], n_neurons: int) -> str:
    """Return the text of the box: the rank correlations, each with how many neurons it is over."""
    floor, n_above, n_top = (attributes[name] for name in ("floor", "n_above_floor", "n_top"))
    counted = f"{n_above:,} of {n_neurons:,} neurons"
    if n_above < LEAST_RANKED:
        return f"{counted} have |exact| above rounding ({floor:.0e}):<br>too few for a rank correlation"
    of_all, of_top = float(attributes["rank_correlation"]), float(attributes["rank_correlation_top"])
    shown = ["no order" if np.isnan(value) else f"{value:.2f}" for value in (of_all, of_top)]
    lines = f"{counted}, above rounding ({floor:.0e}): {shown[0]}", f"{n_top} of largest |exact|: {shown[1]}"
    return "<br>".join(["Spearman rank correlation", *lines])
