import numpy as np
import pytest

from an_neuron.figures.labels import Frame, Labels, box_around, within
from an_neuron.figures.style import thinned


def test_kept_points_never_give_way_and_do_not_stand_for_others():
    pixels = np.array([[0.2, 0.2], [0.3, 0.3], [0.4, 0.4], [0.5, 0.5], [5.0, 5.0]])
    keep = np.array([False, True, True, False, False])
    assert thinned(pixels, keep, 4).tolist() == [True, True, True, False, True]
    assert thinned(pixels, keep, 5).all()


def test_labels_and_arrows_leave_important_points_free():
    frame = Frame((0, 100), (0, 100))
    anchor = frame.pixels(50, 50)[0]
    free = Labels(frame, np.empty((0, 2))).beside(anchor, "31.892", np.empty((0, 2)))
    assert free[0] == pytest.approx(0), "above, if nothing is in the way"
    important = anchor + np.array([[0.0, -12.0], [3.0, -30.0]])
    layout = Labels(frame, np.empty((0, 2)), important=important)
    offset = layout.beside(anchor, "31.892", np.empty((0, 2)))
    assert within(important, box_around(anchor + offset, "31.892")) == 0
    assert offset != free
