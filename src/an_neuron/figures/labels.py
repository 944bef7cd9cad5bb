"""Where labels go: inside the plot, off the drawn points, and off each other, at the size of the static files."""

import html
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go

from an_neuron.figures.label_places import CROSSED, FAR, MARKED, OUTSIDE, UNDER_LABEL, Places, cheapest
from an_neuron.files.look import look

MARGIN = {"l": 70, "r": 24, "t": 44, "b": 54}  # pixels, for letters of `BASE_FONT`
UNTITLED = 14  # pixels above a plot without a title
CHARACTER_WIDTH, LINE_HEIGHT = 6.4, 15.5  # pixels, of letters of `BASE_FONT`
BOX_LARGER = 7 / 6
NEAR = 6  # pixels between an arrow and a marker beside it
TOUCHING = 3  # pixels between a label and a marker beside it
LABEL_BACKGROUND = "rgba(255, 255, 255, 0.75)"

Box = tuple[float, float, float, float]  # left, top, right, bottom, in pixels from the plot's upper left corner


@dataclass(frozen=True)
class Frame:
    """The data ranges of a figure's axes and its margins: where a value lies in a static file.

    Margins are those for letters of `BASE_FONT`, and grow with them; the upper one shrinks where there is no title.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    margin: dict[str, int] = field(default_factory=lambda: dict(MARGIN))

    @property
    def margins(self) -> dict[str, float]:
        """The margins in pixels."""
        above = {} if look().title else {"t": UNTITLED}
        return {side: look().scale * pixels for side, pixels in {**self.margin, **above}.items()}

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the plot area in pixels."""
        margins = self.margins
        return look().width - margins["l"] - margins["r"], look().height - margins["t"] - margins["b"]

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
    important: np.ndarray = field(default_factory=lambda: np.empty((0, 2)))  # [n, 2] pixels, off arrows too

    def cost(self, box: Box) -> float:
        """Count the points under a box; labels under it, or parts outside of the plot, weigh far more."""
        left, top, right, bottom = box
        width, height = self.frame.size
        outside = left < 0 or top < 0 or right > width or bottom > height
        hidden = sum(overlap(box, other) for other in self.placed)
        return OUTSIDE * outside + UNDER_LABEL * hidden + within(self.obstacles, box)

    def put(self, boxes: Iterable[Box]) -> Box:
        """Take the cheapest box, the first of equals."""
        best = min(boxes, key=self.cost)
        self.placed.append(best)
        return best

    def beside(self, anchors: np.ndarray, texts: Sequence[str]) -> list[tuple[float, float]]:
        """Return how far each label's centre lies from its point, right and down in pixels; points are [label, 2].

        All of them find their places together (`cheapest`).
        """
        places = [self._places(anchor, text, anchors) for anchor, text in zip(anchors, texts, strict=True)]
        taken = cheapest(places)
        self.placed += [tuple(each.boxes[place].tolist()) for each, place in zip(places, taken, strict=True)]
        offsets = [each.offsets[place].tolist() for each, place in zip(places, taken, strict=True)]
        return [(across, down) for across, down in offsets]

    def _places(self, anchor: np.ndarray, text: str, others: np.ndarray) -> Places:
        """Return where a point's label may go; other points that are labelled, [n, 2], weigh far more than any."""
        offsets, far = map(np.array, zip(*_offsets(text), strict=True))
        boxes = [box_around(anchor + offset, text) for offset in offsets]
        arrows = anchor + np.linspace(0.0, 1.0, 40)[:, None] * offsets[:, None]
        important = self.important[np.hypot(*(self.important - anchor).T) > NEAR]

        def price(box: Box, arrow: np.ndarray) -> float:
            crossed = sum(within(arrow, other) > 0 for other in self.placed)
            beside = (abs(important[:, None] - arrow) < NEAR).all(-1).any(-1)
            left, top, right, bottom = box
            near = within(important, (left - TOUCHING, top - TOUCHING, right + TOUCHING, bottom + TOUCHING))
            hidden = near + int(beside.sum())
            return self.cost(box) + MARKED * within(others, box) + CROSSED * (crossed + hidden)

        prices = far**2 / FAR + [price(box, arrow) for box, arrow in zip(boxes, arrows, strict=True)]
        return Places(offsets, np.array(boxes), arrows, prices).considered()


def annotate(figure: go.Figure, layout: Labels, marks: Sequence[tuple[float, float, str]], **arrow: Any) -> None:
    """Add a label with an arrow to each (x, y, text)."""
    if not marks:
        return
    anchors = layout.frame.pixels([x for x, _, _ in marks], [y for _, y, _ in marks])
    offsets = layout.beside(anchors, [text for _, _, text in marks])
    for (x, y, text), (across, down) in zip(marks, offsets, strict=True):
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


def add_box(figure: go.Figure, layout: Labels, text: str) -> None:
    """Add a box with numbers where it covers fewest points; labels put later keep off it."""
    width, height = text_size(text, BOX_LARGER)
    lefts, tops = (
        np.linspace(8, side - size - 8, steps)
        for side, size, steps in zip(layout.frame.size, (width, height), (12, 8), strict=True)
    )
    boxes = ((x, y, x + width, y + height) for y in tops[::-1] for x in lefts[::-1])
    left, top, right, bottom = layout.put(boxes)
    add_text(
        figure,
        layout.frame,
        ((left + right) / 2, (top + bottom) / 2),
        text=text,
        font_size=BOX_LARGER * look().font_size,
        align="left",
        bordercolor="#c7c7c7",
        borderwidth=1,
        borderpad=4,
        bgcolor=LABEL_BACKGROUND,
    )


def add_text(figure: go.Figure, frame: Frame, centre: tuple[float, float], **options: Any) -> None:
    """Add a text without an arrow that stays at its place in the plot area."""
    width, height = frame.size
    place = {"x": centre[0] / width, "y": 1 - centre[1] / height, "xref": "x domain", "yref": "y domain"}
    figure.add_annotation(showarrow=False, xanchor="center", yanchor="middle", **place, **options)


def _offsets(text: str) -> Iterable[tuple[np.ndarray, float]]:
    """Yield offsets of a label's centre around its point, near ones first, with the length of the arrow."""
    half = np.array(text_size(text)) / 2
    for far in (16, 26, 38, 52, 70, 95, 125, 160, 200, 250):
        for angle in np.arange(16) * np.pi / 8 - np.pi / 2:  # above first
            yield np.array([np.cos(angle), np.sin(angle)]) * (half + far), far


def box_around(centre: np.ndarray, text: str) -> Box:
    """Return the box that a text takes around its centre."""
    (x, y), (width, height) = centre, text_size(text)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def text_size(text: str, larger: float = 1) -> tuple[float, float]:
    """Estimate the pixels that a text takes, with a little room around it; `larger` than the figure's letters."""
    lines = html.unescape(text).split("<br>")
    longest = max(sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line) for line in lines)
    scale = larger * look().scale
    return longest * CHARACTER_WIDTH * scale + 10, len(lines) * LINE_HEIGHT * scale + 6


def overlap(box: Box, other: Box) -> bool:
    """Say whether two boxes share a pixel."""
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def within(points: np.ndarray, box: Box) -> int:
    """Count the points in a box."""
    x, y = points.T
    return int(np.count_nonzero((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])))


def along(corners: np.ndarray, step: float = 4.0) -> np.ndarray:
    """Return points every few pixels along a line through [n, 2] corners."""
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    far = np.concatenate([[0.0], np.cumsum(lengths)])
    at = np.arange(0.0, far[-1], step)
    return np.column_stack([np.interp(at, far, corners[:, axis]) for axis in (0, 1)])


def padded(values: np.ndarray, share: float) -> tuple[float, float]:
    """Return the range of finite values, widened on each side; that of none is 0 to 1."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)
    room = share * (high - low) or 0.5
    return low - room, high + room
