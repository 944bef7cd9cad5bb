"""What the figures share: size, colours, texts, axes, and the thinning of points that would hide each other."""

import html
from collections.abc import Iterable
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.labels import FONT_SIZE, Frame

TEMPLATE = "plotly"
COLOR_SCALE = "RdBu"
MARK_COLOR = "#636efa"
REFERENCE_COLOR = "#444444"
CELL_ARROW_COLOR = "darkorange"  # seen on dark cells as on light ones

WEBGL_ABOVE = 5_000  # points in a browser
STATIC_LIMIT = 50_000  # points in a static file; above it some of those that overlap are left out

MARKER_RADIUS = 3
MADE_VISIBLE = {"\n": "↵", "\t": "⇥"}


def empty_figure(title: str, x_title: str, y_title: str, frame: Frame) -> go.Figure:
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


def markers(x: np.ndarray, y: np.ndarray, static: bool, **options: Any) -> Any:
    """Return a scatter trace, in WebGL when a browser would draw many points."""
    kind = go.Scattergl if not static and len(x) > WEBGL_ABOVE else go.Scatter
    return kind(x=x, y=y, mode="markers", **options)


def color_axis(recovery: np.ndarray) -> dict[str, Any]:
    """Centre the colours at 0; the ends lie a little beyond the values, so that the last tick keeps off the title."""
    limit = 1.06 * float(np.nanmax(np.abs(recovery))) or 1.0
    bar = {"title": {"text": "Recovery"}}
    return {"colorscale": COLOR_SCALE, "cmid": 0, "cmin": -limit, "cmax": limit, "colorbar": bar}


def strong_cells(frame: Frame, recovery: np.ndarray) -> np.ndarray:
    """Return points spread over the cells that a label should not hide."""
    strength = np.nan_to_num(np.abs(recovery))
    layers, positions = np.nonzero(strength > 0.15 * strength.max())
    spread = np.linspace(-0.45, 0.45, 7)
    return np.vstack([np.empty((0, 2))] + [frame.pixels(positions + dx, layers + dy) for dx in spread for dy in spread])


def thinned(pixels: np.ndarray, keep: np.ndarray) -> np.ndarray:
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


def state_thinning(figure: go.Figure, drawn: np.ndarray) -> None:
    if not drawn.all():
        how = "all red ones, and one of the blue ones wherever they overlap"
        text = f"{drawn.sum():,} of {len(drawn):,} points drawn: {how}"
        figure.update_layout(title={"subtitle": {"text": text}})


def visible(text: Any, length: int | None = None) -> str:
    """Return a text as plotly shows it letter by letter: no markup, line breaks and control characters visible."""
    text = str(text)[:length]
    if not text.isprintable():
        text = "".join(c if c.isprintable() else MADE_VISIBLE.get(c, c.encode("unicode_escape").decode()) for c in text)
    return html.escape(text, quote=False)


def hover(*lines: str) -> str:
    return "<br>".join(lines) + "<extra></extra>"


def token_labels(tokens: Iterable[str]) -> list[str]:
    return [f"'{visible(token, 10)}'" for token in tokens]
