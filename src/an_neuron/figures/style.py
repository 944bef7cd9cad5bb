"""What the figures share: colours, texts, axes, and the thinning of points that would hide each other."""

from textwrap import wrap
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.labels import CHARACTER_WIDTH, Frame, Labels, add_text, along, text_size
from an_neuron.files.look import look

TEMPLATE = "plotly_white"
COLOR_SCALE = "RdBu"
MARK_COLOR = "#0077bb"  # this and the red are told apart by colour-blind readers, and in grey
STRONG_COLOR = "#cc3311"
REFERENCE_COLOR = "#444444"
CELL_ARROW_COLOR = "#ee7733"  # seen on dark cells as on light ones
TOP_PREDICTION_COLORS = {False: MARK_COLOR, True: STRONG_COLOR}

WEBGL_ABOVE = 5_000  # points in a browser
STATIC_LIMIT = 50_000  # points in a static file; above it some of those that overlap are left out
TELLABLE = 10_000  # points in a static file, above which of those on one pixel one is drawn
BROWSER_LIMIT = 300_000
"""Points in a browser: 12 MB that show in 3 to 5 seconds. A million would be 30 MB and take 6 to 12."""

MARKER_RADIUS = 3
TITLE_LARGER, SUBTITLE_SMALLER = 7 / 6, 11 / 12


def empty_figure(title: str, x_title: str, y_title: str, frame: Frame) -> go.Figure:
    """Return an empty figure in the shared style."""
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE,
        title=title_of(title),
        margin=frame.margins,
        font_size=look().font_size,
        showlegend=False,
        xaxis={"title": {"text": x_title}, "range": frame.x_range},
        yaxis={"title": {"text": y_title}, "range": frame.y_range, "ticklabelstandoff": 4},
    )
    return figure


def title_of(text: str) -> dict[str, Any]:
    """Return a title, or nothing where figures have none."""
    if not look().title:
        return {}
    shown = "<br>".join(wrap(text, characters(TITLE_LARGER)))
    font = {"size": TITLE_LARGER * look().font_size}
    return {"text": shown, "font": font, "x": 0.02, "xanchor": "left", "y": 1, "yanchor": "top", "pad": {"t": 10}}


def characters(larger: float) -> int:
    """Return how many characters a line across the figure has, of letters that are `larger` than the others."""
    return int(0.95 * look().width / (CHARACTER_WIDTH * larger * look().scale))


def markers(x: np.ndarray, y: np.ndarray, static: bool, n_points: int | None = None, **options: Any) -> Any:
    """Return a scatter trace, in WebGL when a browser would draw many points.

    A browser lays WebGL over vector graphics, so traces that share a figure must be of one kind to be drawn in their
    order: give each the figure's number of points, `n_points`.
    """
    many = (len(x) if n_points is None else n_points) > WEBGL_ABOVE
    return (go.Scattergl if many and not static else go.Scatter)(x=x, y=y, mode="markers", **options)


def ring(x: float, y: float) -> go.Scatter:
    """Return a ring around a point."""
    marker = {"color": "rgba(0, 0, 0, 0)", "size": 11, "line": {"color": CELL_ARROW_COLOR, "width": 2}}
    return go.Scatter(x=[x], y=[y], mode="markers", marker=marker, hoverinfo="skip")


def limit(static: bool) -> int:
    """Return how many points a figure draws at most."""
    return STATIC_LIMIT if static else BROWSER_LIMIT


def largest_size(recovery: np.ndarray) -> float:
    """Return the largest absolute recovery; NaN counts as nothing."""
    return float(np.nan_to_num(np.abs(recovery)).max())


def style_heat_map(figure: go.Figure, recovery: np.ndarray, largest: float | None = None) -> None:
    """Set the colours and the layer axis of a heat map of recovery[layer, …].

    Colours are centred at 0; their ends lie a little beyond the values, or `largest`, so that the last tick keeps off
    the title.
    """
    end = 1.06 * (largest_size(recovery) if largest is None else largest) or 1.0
    bar = {"title": {"text": "Recovery"}}
    figure.update_layout(coloraxis={"colorscale": COLOR_SCALE, "cmid": 0, "cmin": -end, "cmax": end, "colorbar": bar})
    figure.update_xaxes(showgrid=False)
    figure.update_yaxes(showgrid=False, zeroline=False, tickmode="linear", dtick=1 if len(recovery) <= 16 else 5)


def strong_cells(frame: Frame, recovery: np.ndarray) -> np.ndarray:
    """Return points spread over the cells that a label should not hide."""
    strength = np.nan_to_num(np.abs(recovery))
    layers, positions = np.nonzero(strength > 0.15 * strength.max())
    spread = np.linspace(-0.48, 0.48, 15)
    return np.vstack([np.empty((0, 2))] + [frame.pixels(positions + dx, layers + dy) for dx in spread for dy in spread])


def drawn_of(pixels: np.ndarray, keep: np.ndarray, static: bool) -> np.ndarray:
    """Choose what a figure draws: in a static file of many points one per pixel; see `thinned`."""
    return thinned(pixels, keep, limit(static), min(TELLABLE, STATIC_LIMIT) if static else BROWSER_LIMIT)


def thinned(
    pixels: np.ndarray, keep: np.ndarray, limit: int, tellable: int | None = None, square: float = 1.0
) -> np.ndarray:
    """Choose what to draw of more points than `limit`.

    Parameters
    ----------
    pixels
        Where the points lie, [n, 2].
    keep
        Which of them are drawn in any case, [n].
    tellable
        Up to so many points all are drawn, `limit` if None; above it one per square.
    square
        The least side of the squares in pixels; less than 1 where one can zoom in.

    Returns
    -------
    np.ndarray
        [n] booleans: all points to be kept, and one of the others per square, as large as need be.
    """
    drawn = np.ones(len(pixels), dtype=bool)
    if len(drawn) <= (limit if tellable is None else tellable):
        return drawn
    others, first_time = max(limit - int(keep.sum()), limit // 10), True
    while first_time or (drawn & ~keep).sum() > others:
        cells = np.floor(pixels / square).astype(np.int64)
        _, first = np.unique(cells[:, 0] * 100_000 + cells[:, 1] + keep * 10**12, return_index=True)
        drawn = keep.copy()
        drawn[first] = True
        square, first_time = 1.25 * square, False
    return drawn


def state_thinning(figure: go.Figure, drawn: np.ndarray, how: str) -> None:
    """Say in the subtitle how many points are drawn, and which, unless all are."""
    if not drawn.all():
        add_subtitle(figure, f"{drawn.sum():,} of {len(drawn):,} points drawn: {how}")


def add_subtitle(figure: go.Figure, text: str) -> None:
    """Add a line below the title, where there is one."""
    if look().title:
        lines = "<br>".join(line for part in text.split("<br>") for line in wrap(part, characters(SUBTITLE_SMALLER)))
        figure.update_layout(title={"subtitle": {"text": lines, "font_size": SUBTITLE_SMALLER * look().font_size}})


def add_reference(figure: go.Figure, layout: Labels, value: float, text: str, **options: Any) -> None:
    """Add a dashed horizontal line, and its label where the drawn points leave most room."""
    figure.add_hline(y=value, line_dash="dash", line_color=REFERENCE_COLOR, line_width=1)
    width, height = text_size(text)
    level = float(layout.frame.pixels(0, value)[0, 1])
    lefts = np.linspace(4, layout.frame.size[0] - width - 4, 12)
    tops = (level - height - 2, level + 2)
    left, top, right, bottom = layout.put((x, y, x + width, y + height) for x in lefts for y in tops)
    layout.obstacles = np.vstack([layout.obstacles, along(np.array([[0.0, level], [layout.frame.size[0], level]]))])
    centre = (left + right) / 2, (top + bottom) / 2
    add_text(figure, layout.frame, centre, text=text, font_color=REFERENCE_COLOR, **options)


def hover(*lines: str) -> str:
    """Return a hover template of these lines."""
    return "<br>".join(lines) + "<extra></extra>"
