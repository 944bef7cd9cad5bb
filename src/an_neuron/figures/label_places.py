"""Which of its places each of some labels takes, so that none hides another one and no arrow runs through any."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

OUTSIDE, UNDER_LABEL, MARKED, CROSSED = 1e6, 1e5, 1e3, 1e2
"""What a label costs outside the plot, under another one, over a point that is labelled, and with a crossed arrow; a
hidden point costs 1."""
FAR = 1500.0
"""The square of the length, in pixels, of an arrow that costs 1; one of 250 pixels costs half a crossing."""
CONSIDERED, MOST_ROUNDS = 64, 20
"""How many of a label's places are looked at beside the others', and how often each label may move."""

Beside = dict[tuple[int, int], np.ndarray]
"""What two labels, by their numbers, cost more at their places because of each other: [place, place of the other]."""


@dataclass(frozen=True)
class Places:
    """Where the label of a point may go, near places first.

    Attributes
    ----------
    offsets
        Of the label's centre from the point, [place, 2] pixels.
    boxes
        What the label takes, [place, 4]: left, top, right, bottom.
    arrows
        Points along the arrow, from the point to the label, [place, step, 2].
    prices
        What a place costs whatever the other labels do: what it hides, and its distance, [place].
    """

    offsets: np.ndarray
    boxes: np.ndarray
    arrows: np.ndarray
    prices: np.ndarray

    def prices_beside(self, box: np.ndarray, arrow: np.ndarray) -> np.ndarray:
        """Return what each place costs more beside a label that is put, by its box [4] and its arrow [step, 2]."""
        hidden = (self.boxes[:, :2] < box[2:]) & (box[:2] < self.boxes[:, 2:])
        crossed = _inside(self.arrows, box) + _inside(arrow, self.boxes) + _crossing(self.arrows, arrow)
        return UNDER_LABEL * hidden.all(-1) + CROSSED * crossed

    def considered(self) -> "Places":
        """Return the cheapest ones, in their order."""
        kept = np.sort(np.argsort(self.prices, kind="stable")[:CONSIDERED])
        return Places(self.offsets[kept], self.boxes[kept], self.arrows[kept], self.prices[kept])


def cheapest(places: Sequence[Places]) -> list[int]:
    """Return the place that each label takes, by the cheapest of some orders in which they are put.

    In an order, each label takes the cheapest place that those before it leave, the first of equals; then each again,
    now that all others are put, until none moves.
    """
    beside: Beside = {}
    for one, other in combinations(range(len(places)), 2):
        along = zip(places[one].boxes, places[one].arrows, strict=True)
        beside[one, other] = np.stack([places[other].prices_beside(box, arrow) for box, arrow in along])
        beside[other, one] = beside[one, other].T
    tried = [_settled([each.prices for each in places], beside, order) for order in _orders(len(places))]
    return min(tried, key=lambda each: each[0])[1]


def _orders(number: int) -> Iterable[list[int]]:
    """Yield some orders of labels: as they are given, from any of them on, and backwards."""
    for first in range(number):
        order = [*range(first, number), *range(first)]
        yield order
        yield order[::-1]


def _settled(prices: Sequence[np.ndarray], beside: Beside, order: Sequence[int]) -> tuple[float, list[int]]:
    """Put labels in an order, and again until none moves; return what all cost, and the place of each."""
    taken: dict[int, int] = {}
    for _ in range(MOST_ROUNDS):
        before = dict(taken)
        for label in order:
            others = [beside[label, other][:, place] for other, place in taken.items() if other != label]
            taken[label] = int((prices[label] + np.sum(others, axis=0)).argmin())
        if taken == before:
            break
    places = [taken[label] for label in range(len(prices))]
    alone = sum(float(of[place]) for of, place in zip(prices, places, strict=True))
    return alone + sum(of[places[i], places[j]] for (i, j), of in beside.items() if i < j), places


def _inside(arrows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Say whether arrows, [..., step, 2], run into boxes, [..., 4]; one of both may be a single one."""
    boxes = boxes[..., None, :]
    inside = (arrows > boxes[..., :2]) & (arrows < boxes[..., 2:])
    return np.asarray(inside.all(-1).any(-1), dtype=int)


def _crossing(arrows: np.ndarray, arrow: np.ndarray) -> np.ndarray:
    """Say which of some arrows, [n, step, 2], cross another one, [step, 2]."""
    (start, end), starts, ends = arrow[[0, -1]], arrows[:, 0], arrows[:, -1]
    apart = _side(starts, ends, start) * _side(starts, ends, end) < 0
    return (apart & (_side(start, end, starts) * _side(start, end, ends) < 0)).astype(int)


def _side(start: np.ndarray, end: np.ndarray, point: np.ndarray) -> np.ndarray:
    """Return on which side of a line points lie: 1, -1, or 0 on it."""
    along, to = end - start, point - start
    return np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])
