from itertools import combinations

import numpy as np
import pytest

from an_neuron.figures.label_places import CROSSED, UNDER_LABEL, Places, cheapest
from an_neuron.figures.labels import Frame, Labels, box_around, overlap, within
from an_neuron.figures.style import thinned


def test_kept_points_never_give_way_and_do_not_stand_for_others():
    pixels = np.array([[0.2, 0.2], [0.3, 0.3], [0.4, 0.4], [0.5, 0.5], [5.0, 5.0]])
    keep = np.array([False, True, True, False, False])
    assert thinned(pixels, keep, 4).tolist() == [True, True, True, False, True]
    assert thinned(pixels, keep, 5).all()


def test_labels_and_arrows_leave_important_points_free():
    frame = Frame((0, 100), (0, 100))
    anchor = frame.pixels(50, 50)[0]
    (free,) = Labels(frame, np.empty((0, 2))).beside(anchor[None], ["31.892"])
    assert free[0] == pytest.approx(0), "above, if nothing is in the way"
    important = anchor + np.array([[0.0, -12.0], [3.0, -30.0]])
    layout = Labels(frame, np.empty((0, 2)), important=important)
    (offset,) = layout.beside(anchor[None], ["31.892"])
    assert within(important, box_around(anchor + offset, "31.892")) == 0
    assert offset != free


def test_the_last_label_is_not_sent_far_away_if_another_order_leaves_it_room():
    """Four points in a corner, of which the first three labels would close the fourth's way out."""
    frame = Frame((0, 100), (0, 100))
    anchors = frame.pixels([2, 5, 4, 2.5], [93, 92, 89, 88])
    offsets = np.array(Labels(frame, anchors).beside(anchors, ["' an'", "'An'", "' An'", "'an'"]))
    boxes = [box_around(anchor + offset, "' An'") for anchor, offset in zip(anchors, offsets, strict=True)]
    assert not any(overlap(one, other) for one, other in combinations(boxes, 2))
    assert np.hypot(*offsets.T).max() < 120


def place(offset, price):
    """A label's only place: a point at 0, 0 and a box of 10 by 10 around its end."""
    end = np.array([offset], dtype=float)
    box = np.concatenate([end - 5, end + 5], axis=1)
    return box, np.linspace(0.0, 1.0, 12)[:, None] * end, price


def places(*some):
    boxes, arrows, prices = zip(*(place(*one) for one in some), strict=True)
    return Places(np.empty((len(some), 2)), np.concatenate(boxes), np.stack(arrows), np.array(prices, dtype=float))


def test_prices_of_places_by_hand():
    (_, _, right, beyond) = range(4)
    some = places(([0, -40], 0), ([40, -40], 0), ([40, 0], 0), ([80, 0], 0))
    box, arrow, _ = place([40, 0], 0)
    costs = some.prices_beside(box[0], arrow)
    assert costs[right] >= UNDER_LABEL
    assert costs[beyond] == CROSSED  # its arrow runs through the box; arrows of one line do not cross
    assert costs[:2].tolist() == [0, 0]
    crossing = np.linspace([20.0, -20.0], [20.0, 20.0], 12)
    assert some.prices_beside(np.array([200.0, 200, 210, 210]), crossing).tolist() == [0, 0, CROSSED, CROSSED]


def test_a_label_gives_way_where_the_next_one_has_no_other_place():
    wanted = places(([40, 0], 0), ([0, 40], 3))
    without_choice = places(([40, 0], 0))
    assert cheapest([wanted, without_choice]) == [1, 0]
