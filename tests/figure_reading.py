"""Tables from which tests draw a figure, and what they read from it."""

from pathlib import Path

import numpy as np

from an_neuron.figures.labels import Frame, box_around, overlap
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import storable

KINDS = {"f": "float32", "i": "int32", "u": "int32", "U": "text", "O": "text"}


def table_of(datasets, **attributes):
    """Return a table as it is read from a file; each dataset is given as (values, *names of its axes)."""
    stored = {}
    for name, (values, *dims) in datasets.items():
        values = np.asarray(values)
        assert values.ndim == len(dims), f"{name}: {values.ndim} axes, but dims {dims}"
        stored[name] = storable(values, KINDS[values.dtype.kind])
    return Table(Path("table.h5"), stored, attributes)


def titles(figure):
    """Return the title, and those of both axes."""
    layout = figure.layout
    return layout.title.text, layout.xaxis.title.text, layout.yaxis.title.text


def arrows(figure):
    """Return (x, y, text) of the annotations with an arrow."""
    return [(note.x, note.y, note.text) for note in figure.layout.annotations if note.showarrow]


def texts_in(figure):
    """Return the texts of the annotations without an arrow."""
    return [note.text for note in figure.layout.annotations if not note.showarrow]


def frame_of(figure):
    """Return where the data's area lies."""
    margin = figure.layout.margin
    return Frame(figure.layout.xaxis.range, figure.layout.yaxis.range, {side: getattr(margin, side) for side in "lrtb"})


def subtitle(figure):
    """Return the line below the title."""
    return figure.layout.title.subtitle.text


def points(figure):
    """Return how many points are drawn."""
    return sum(len(trace.x) for trace in figure.data)


def boxes(figure):
    """Yield the boxes of the labels that have an arrow."""
    frame = frame_of(figure)
    for note in figure.layout.annotations:
        if note.showarrow:
            yield box_around(frame.pixels(note.x, note.y)[0] + [note.ax, note.ay], note.text)


def assert_labels_are_clear(figure):
    """Check that labels with an arrow lie inside the plot and off each other, and that there are some."""
    width, height = frame_of(figure).size
    placed = list(boxes(figure))
    assert placed
    for number, box in enumerate(placed):
        assert_inside(box, width, height)
        assert not any(overlap(box, other) for other in placed[:number])


def assert_labels_are_inside(figure):
    """Check every annotation of the plot area; the bars' share of it is theirs."""
    width, height = frame_of(figure).size
    low, high = figure.layout.yaxis.domain or (0, 1)
    for box in boxes(figure):
        assert_inside(box, width, height * (high - low))
    for note in figure.layout.annotations:
        if not note.showarrow and note.xref == "x domain":
            place = np.array([note.x * width, (1 - note.y) * height * (high - low)])
            assert_inside(box_around(place, note.text), width, height * (high - low))


def assert_inside(box, width, height):
    """Check that a box lies inside an area."""
    left, top, right, bottom = box
    assert left > 0
    assert top > 0
    assert right < width
    assert bottom < height
