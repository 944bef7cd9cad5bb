"""What tests read from a figure."""

from an_neuron.figures.labels import Frame


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
