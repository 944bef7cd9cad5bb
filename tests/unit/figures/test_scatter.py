import numpy as np
import plotly.graph_objects as go
from figure_reading import frame_of, table_of, titles

from an_neuron.figures import scatter, style
from an_neuron.figures.labels import BOX_LARGER, LABEL_BACKGROUND, text_size, within
from an_neuron.figures.style import STATIC_LIMIT


def activations(activation, margin, vocabulary=(" a", " an", "<b>\n"), **attributes):
    activation, margin = np.array(activation), np.array(margin)
    ids = np.arange(activation.size).reshape(activation.shape) % len(vocabulary)
    return table_of(
        {
            "activation": (activation, "row", "pos"),
            "margin": (margin, "row", "pos"),
            "token_id": (ids, "row", "pos"),
            "top_prediction": (ids, "row", "pos"),
            "vocabulary": (np.array(vocabulary), "d_vocab"),
        },
        layer=31,
        index=892,
        token=" an",
        token_id=1,
        readout="embedding",
        top_predictions=int((margin > 0).sum()),
        occurrences=2251,
        **attributes,
    )


def test_activations_are_the_notebooks_scatter():
    table = activations([[1.0, 2.0, 3.0], [-1.0, 0.0, 4.0]], [[-5.0, 0.5, -1.0], [3.0, -2.0, 2.0]])
    figure = scatter.logit_activation_fig(table)
    assert titles(figure) == (
        'Layer 31 Neuron 892 activations (>=0) vs. " an" Logit subtract Top Other Logit',
        "Layer 31 Neuron 892 activation",
        '" an" Logit - Max Other Logit',
    )
    blue, red = figure.data
    assert (blue.name, blue.marker.color, red.name, red.marker.color) == ("False", "#0077bb", "True", "#cc3311")
    assert (list(blue.x), list(blue.y)) == ([1.0, 3.0], [-5.0, -1.0])
    assert (list(red.x), list(red.y)) == ([2.0, 4.0], [0.5, 2.0])
    assert list(blue.hovertext) == [" a", "&lt;b&gt;↵"]
    assert "Top prediction=True<br>Layer 31 Neuron 892 activation=%{x}" in red.hovertemplate
    assert figure.layout.showlegend
    assert figure.layout.legend.title.text == "Top prediction"
    (box,) = figure.layout.annotations
    assert box.text == "Top predictions: 3<br>Actual occurrences: 2251"
    assert box.bgcolor == LABEL_BACKGROUND
    assert figure.layout.title.subtitle.text == "all 4 points drawn"


def test_the_counts_cover_no_points_where_there_is_room():
    generator = np.random.default_rng(0)
    activation = generator.gamma(1.0, 1.0, (10, 500))
    table = activations(activation, -12 + 2 * activation + generator.normal(size=(10, 500)))
    figure = scatter.logit_activation_fig(table)
    frame, (box,) = frame_of(figure), figure.layout.annotations
    width, height = frame.size
    wide, high = text_size(box.text, BOX_LARGER)
    left, top = box.x * width - wide / 2, (1 - box.y) * height - high / 2
    points = np.vstack([frame.pixels(trace.x, trace.y) for trace in figure.data])
    assert within(points, (left, top, left + wide, top + high)) == 0


def test_static_thinning_is_stated_and_keeps_every_red_point_and_the_outline():
    generator = np.random.default_rng(0)
    activation, margin = generator.gamma(2.0, 1.0, (100, 1000)), generator.normal(-5, 2, (100, 1000))
    table = activations(activation, margin)
    figure = scatter.logit_activation_fig(table, static=True)
    blue, red = figure.data
    assert len(red.x) == (margin > 0).sum()
    drawn = len(blue.x) + len(red.x)
    assert drawn <= STATIC_LIMIT
    assert figure.layout.title.subtitle.text.startswith(f"{drawn:,} of 100,000 points drawn")
    pixels = frame_of(figure).pixels(activation.ravel(), margin.ravel())
    kept = frame_of(figure).pixels(np.append(blue.x, red.x), np.append(blue.y, red.y))
    squares = {tuple(square) for square in np.floor(kept / 6).astype(int)}
    assert {tuple(square) for square in np.floor(pixels / 6).astype(int)} == squares, "no marker's place is left empty"
    again = scatter.logit_activation_fig(table, static=True)
    assert again.to_json() == figure.to_json()


def test_red_points_that_are_too_many_are_thinned_too(monkeypatch):
    monkeypatch.setattr(style, "STATIC_LIMIT", 1_000)
    generator = np.random.default_rng(0)
    margin = generator.normal(1, 2, (10, 1000))
    figure = scatter.logit_activation_fig(activations(generator.gamma(2.0, 1.0, (10, 1000)), margin))
    drawn = [len(trace.x) for trace in figure.data]
    assert all(0 < number <= 500 for number in drawn)
    text = f"{sum(drawn):,} of 10,000 points drawn: one of each colour wherever they overlap"
    assert figure.layout.title.subtitle.text == text


def test_a_browser_that_would_get_too_many_points_is_told_so(monkeypatch):
    monkeypatch.setattr(style, "BROWSER_LIMIT", 5_000)
    generator = np.random.default_rng(0)
    margin = generator.normal(-5, 2, (10, 1000))
    figure = scatter.logit_activation_fig(activations(generator.gamma(2.0, 1.0, (10, 1000)), margin), False)
    blue, red = figure.data
    assert len(red.x) == (margin > 0).sum()
    drawn = len(blue.x) + len(red.x)
    assert 3_000 < drawn <= 5_000, "as many as may be: one can zoom in"
    assert figure.layout.title.subtitle.text.startswith(f"{drawn:,} of 10,000 points drawn: all red ones")
    assert [type(trace) for trace in figure.data] == [go.Scattergl] * 2


def test_a_browser_gets_every_point_in_webgl():
    generator = np.random.default_rng(0)
    table = activations(generator.gamma(2.0, 1.0, (60, 1000)), generator.normal(-5, 2, (60, 1000)))
    figure = scatter.logit_activation_fig(table, static=False)
    assert sum(len(trace.x) for trace in figure.data) == 60_000
    assert figure.layout.title.subtitle.text == "all 60,000 points drawn"
    assert len(figure.data[1].x) < 5_000
    assert [type(trace) for trace in figure.data] == [go.Scattergl] * 2, "WebGL would hide a few red vector points"


def test_a_neuron_that_never_fires_gives_an_empty_figure():
    figure = scatter.logit_activation_fig(activations([[-1.0, 0.0]], [[-5.0, 1.0]]))
    assert [len(trace.x) for trace in figure.data] == [0, 0]
    assert figure.layout.title.subtitle.text == "no activation is positive"


def test_signed_neurons_are_shown_on_both_sides():
    table = activations([[1.0, 2.0, 3.0], [-1.0, 0.0, -4.0]], [[-5.0, 0.5, -1.0], [3.0, -2.0, 2.0]], signed=1)
    figure = scatter.logit_activation_fig(table)
    assert titles(figure)[0] == 'Layer 31 Neuron 892 activations vs. " an" Logit subtract Top Other Logit'
    blue, red = figure.data
    assert sorted([*blue.x, *red.x]) == [-4, -1, 0, 1, 2, 3]
    assert list(red.x) == [2, -1, -4]
    assert figure.layout.title.subtitle.text == "all 6 points drawn"
    low, high = figure.layout.xaxis.range
    assert low < -4 < 3 < high
