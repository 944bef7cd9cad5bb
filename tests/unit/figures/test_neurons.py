import numpy as np
import plotly.graph_objects as go
import pytest
from figure_reading import arrows, frame_of, points, table_of, texts_in, titles

from an_neuron.figures import neurons as neuron_figures
from an_neuron.figures import style
from an_neuron.figures.labels import box_around, overlap
from an_neuron.figures.style import STATIC_LIMIT

DARK, LIGHT = neuron_figures.QUIET_COLORS
RED = "#cc3311"


def places(trace):
    return [tuple(place) for place in np.asarray(trace.customdata).tolist()]


def neuron_map(recovery, layers, top):
    recovery = np.array(recovery)
    layer, neuron, tokens = zip(*top, strict=True)
    found = [recovery[list(layers).index(a), b] for a, b in zip(layer, neuron, strict=True)]
    return table_of(
        {
            "recovery": (recovery, "layer", "d_mlp"),
            "layer": (np.array(layers), "layer"),
            "top_layer": (np.array(layer), "rank"),
            "top_index": (np.array(neuron), "rank"),
            "top_recovery": (np.array(found), "rank"),
            "top_tokens": (np.array(tokens, dtype=object), "rank", "k"),
        },
        answer=" an",
        foil=" a",
    )


def test_neurons_lie_layer_beside_layer_and_listed_ones_are_red_with_their_tokens():
    recovery = [[0.0, 0.001, 0.0, 0.5], [0.0, -0.2, 0.001, 0.0], [0.002, 0.0, 0.0, 0.0]]
    top = [(0, 3, [" an", "<b>"]), (1, 1, ["\n", " a"])]
    figure = neuron_figures.neuron_map_fig(neuron_map(recovery, [0, 1, 2], top))
    assert titles(figure) == ("Recovery From Each Patched Neuron", "Layer", "Recovery")
    even, odd, listed = figure.data
    assert [trace.marker.color for trace in figure.data] == [DARK, LIGHT, RED]
    assert listed.marker.size > even.marker.size == odd.marker.size
    assert list(even.x) == [0.0, 0.25, 0.5, 2.0, 2.25, 2.5, 2.75]
    assert list(odd.x) == [1.0, 1.5, 1.75]
    assert list(listed.x) == [0.75, 1.25]
    assert list(listed.y) == pytest.approx([0.5, -0.2])
    assert places(listed) == [(0, 3), (1, 1)]
    assert list(listed.hovertext) == ["' an', '&lt;b&gt;'", "'↵', ' a'"]
    assert "Raised tokens=%{hovertext}" in listed.hovertemplate
    assert even.hovertemplate.startswith("Layer=%{customdata[0]}<br>Neuron=%{customdata[1]}<br>Recovery=%{y")
    assert arrows(figure) == [
        (0.75, pytest.approx(0.5), "0.3  ' an'"),
        (1.25, pytest.approx(-0.2), "1.1  ' a'"),  # the first of the raised ones that is answer or foil
    ]
    assert figure.layout.title.subtitle.text is None


def test_a_subset_of_layers_leaves_no_gaps_and_keeps_its_names():
    recovery = [[0.0, 0.4], [0.0, 0.0], [0.3, 0.0]]
    figure = neuron_figures.neuron_map_fig(neuron_map(recovery, [7, 31, 35], [(7, 1, [" an"]), (35, 0, [" x"])]))
    assert list(figure.layout.xaxis.tickvals) == [0.5, 1.5, 2.5]
    assert list(figure.layout.xaxis.ticktext) == ["7", "31", "35"]
    assert places(figure.data[1]) == [(31, 0), (31, 1)]
    assert places(figure.data[2]) == [(7, 1), (35, 0)]
    assert [(x, text) for x, _, text in arrows(figure)] == [(0.5, "7.1  ' an'"), (2.0, "35.0")]


def test_a_map_in_reduced_precision_says_so():
    table = neuron_map([[0.0, 0.4]], [7], [(7, 1, [" an"])])
    assert neuron_figures.neuron_map_fig(table).layout.title.subtitle.text is None
    table.attributes.update(precision="bfloat16", error_median=0.0036, measured_again=1500)
    assert neuron_figures.neuron_map_fig(table).layout.title.subtitle.text == (
        "Products in bfloat16, off by 0.4% (median); the 1,500 measured again, the largest among them, in float32"
    )


def test_ticks_of_many_layers_keep_their_distance():
    table = neuron_map(np.eye(80, 3), range(80), [(0, 0, [" an"])])
    assert list(neuron_figures.neuron_map_fig(table).layout.xaxis.ticktext[:3]) == ["0", "2", "4"]


def test_only_neurons_that_leave_the_band_are_labelled_eight_at_most():
    recovery = np.full((1, 100), 0.001)
    recovery[0, :12] = np.linspace(0.5, 0.39, 12)
    table = neuron_map(recovery, [0], [(0, 0, [" an"])])
    assert [text for *_, text in arrows(neuron_figures.neuron_map_fig(table))] == [
        "0.0  ' an'",
        *(f"0.{i}" for i in range(1, 8)),
    ]
    recovery[0, 1:12] = 0.024  # below a twentieth of the largest
    table = neuron_map(recovery, [0], [(0, 0, [" an"])])
    assert [text for *_, text in arrows(neuron_figures.neuron_map_fig(table))] == ["0.0  ' an'"]
    table = neuron_map(np.linspace(-0.1, 0.09, 100)[None], [0], [(0, 0, [" an"])])
    assert [text for *_, text in arrows(neuron_figures.neuron_map_fig(table))] == ["0.0  ' an'"], "none stands out"


def large(rows=20, d_mlp=5000):
    recovery = np.random.default_rng(0).normal(0, 0.001, (rows, d_mlp)).astype(np.float32)
    recovery[3, 10:14] = [0.03, 0.03, -0.03, 0.5]  # the first two fall on one pixel
    return recovery


def test_thinning_keeps_large_and_listed_neurons_and_every_place_and_is_stated():
    recovery, top = large(), [(3, 13, [" an"]), (9, 77, [" quiet"])]
    figure = neuron_figures.neuron_map_fig(neuron_map(recovery, range(20), top))
    drawn = points(figure)
    assert drawn <= STATIC_LIMIT < recovery.size
    statement = "one of those that overlap, and the 1,000 largest in size"
    assert figure.layout.title.subtitle.text == f"{drawn:,} of 100,000 points drawn: {statement}"
    kept = {place for trace in figure.data for place in places(trace)}
    assert len(kept) == drawn, "no neuron is drawn twice"
    largest = np.argsort(-np.abs(recovery.ravel()))[:1000]
    assert {divmod(int(i), 5000) for i in largest} <= kept
    assert (9, 77) in kept
    frame = frame_of(figure)
    every = frame.pixels(np.arange(recovery.size) / 5000, recovery.ravel())
    shown = np.vstack([frame.pixels(trace.x, trace.y) for trace in figure.data])
    squares = {tuple(square) for square in np.floor(shown / 4).astype(int)}
    assert {tuple(square) for square in np.floor(every / 4).astype(int)} == squares, "no marker's place is left empty"


def test_a_browser_gets_every_neuron_in_webgl_even_the_red_ones_which_would_be_hidden_below_it():
    figure = neuron_figures.neuron_map_fig(neuron_map(large(), range(20), [(3, 13, [" an"])]), static=False)
    assert points(figure) == 100_000
    assert [type(trace) for trace in figure.data] == [go.Scattergl] * 3
    assert figure.data[-1].marker.color == RED, "drawn last"
    assert figure.layout.title.subtitle.text is None
    assert figure.data[0].x.dtype == np.float32


def test_a_browser_that_would_get_too_many_is_told_so(monkeypatch):
    monkeypatch.setattr(style, "BROWSER_LIMIT", 50_000)
    figure = neuron_figures.neuron_map_fig(neuron_map(large(), range(20), [(3, 13, [" an"])]), static=False)
    assert points(figure) < 50_000
    assert f"{points(figure):,} of 100,000 points drawn" in figure.layout.title.subtitle.text


def attribution(exact, approximate, layers=(0, 1), **attributes):
    return table_of(
        {
            "exact": (np.array(exact), "layer", "d_mlp"),
            "approximate": (np.array(approximate), "layer", "d_mlp"),
            "layer": (np.array(layers), "layer"),
        },
        answer=" an",
        foil=" a",
        **{
            "floor": 4e-6,
            "n_above_floor": 6,
            "rank_correlation": 0.873,
            "n_top": 6,
            "rank_correlation_top": 0.612,
        }
        | attributes,
    )


EXACT = [[0.0, 0.5, 0.1, -0.1], [0.01, 0.02, 0.0, 0.2]]
APPROXIMATE = [[0.0, 0.2, 0.1, -0.3], [0.01, 0.02, 0.0, 0.3]]


def test_attribution_draws_the_line_the_correlations_and_the_worst_misses():
    figure = neuron_figures.attribution_fig(attribution(EXACT, APPROXIMATE, (30, 31)))
    title = "Exact Patching Against Attribution Patching"
    assert titles(figure) == (title, "Recovery by Exact Patching", "Recovery by Attribution Patching")
    assert arrows(figure) == [  # misses of 0.3, 0.2 and 0.1; all others lie on the line
        (pytest.approx(0.5), pytest.approx(0.2), "30.1"),
        (pytest.approx(-0.1), pytest.approx(-0.3), "30.3"),
        (pytest.approx(0.2), pytest.approx(0.3), "31.3"),
    ]
    quiet, missed = figure.data
    assert (quiet.marker.color, missed.marker.color) == (DARK, RED)
    assert places(missed) == [(30, 1), (30, 3), (31, 3)]
    assert places(quiet) == [(30, 0), (30, 2), (31, 0), (31, 1), (31, 2)]
    assert "Exact=%{x" in quiet.hovertemplate
    assert "Attribution=%{y" in quiet.hovertemplate
    lines = [
        "Spearman rank correlation",
        "6 of 8 neurons, above rounding (4e-06): 0.87",
        "6 of largest |exact|: 0.61",
    ]
    assert sorted(texts_in(figure)) == ["<br>".join(lines), "y = x"]


def test_two_neurons_above_rounding_give_a_sentence_instead_of_a_correlation():
    none = {"n_above_floor": 2, "n_top": 2, "rank_correlation": np.nan, "rank_correlation_top": np.nan}
    figure = neuron_figures.attribution_fig(attribution(EXACT, APPROXIMATE, **none))
    box = "2 of 8 neurons have |exact| above rounding (4e-06):<br>too few for a rank correlation"
    assert sorted(texts_in(figure)) == [box, "y = x"]


def test_equal_values_have_no_order():
    figure = neuron_figures.attribution_fig(attribution(EXACT, APPROXIMATE, rank_correlation=np.nan))
    assert "6 of 8 neurons, above rounding (4e-06): no order" in str(figure.to_json())


def test_both_axes_have_one_range_and_clip_nothing():
    figure = neuron_figures.attribution_fig(attribution(EXACT, APPROXIMATE))
    low, high = figure.layout.xaxis.range
    assert tuple(figure.layout.yaxis.range) == (low, high)
    assert low < -0.3
    assert high > 0.5
    (line,) = figure.layout.shapes
    assert (line.x0, line.y0, line.x1, line.y1) == (low, low, high, high)


def test_at_most_five_misses_are_labelled_and_none_where_there_is_none():
    exact = np.linspace(0, 1, 20).reshape(2, 10)
    figure = neuron_figures.attribution_fig(attribution(exact, exact + 0.1))
    assert len(arrows(figure)) == 5
    assert arrows(neuron_figures.attribution_fig(attribution(exact, exact))) == []


def test_thinned_attribution_keeps_what_is_large_in_either_value():
    exact = large()
    approximate = exact.copy()
    approximate[5, 5:7] = [-0.2, 0.04]
    table = attribution(exact, approximate, range(20))
    figure = neuron_figures.attribution_fig(table)
    stated = f"{points(figure):,} of 100,000 points drawn: one of those that overlap, and the 1,000 largest in size"
    assert stated in figure.layout.title.subtitle.text
    assert points(figure) < STATIC_LIMIT
    kept = {place for trace in figure.data for place in places(trace)}
    assert {(3, 10), (3, 11), (3, 12), (3, 13), (5, 5), (5, 6)} <= kept
    browser = neuron_figures.attribution_fig(table, static=False)
    assert points(browser) == 100_000
    assert [type(trace) for trace in browser.data] == [go.Scattergl] * 2
    assert neuron_figures.attribution_fig(table).to_json() == figure.to_json()


def test_labels_of_neurons_in_a_crowd_do_not_overlap():
    recovery = np.zeros((1, 1000))
    recovery[0, 500:508] = np.linspace(0.5, 0.4, 8)
    top = [(0, 500 + i, [" token"]) for i in range(8)]
    figure = neuron_figures.neuron_map_fig(neuron_map(recovery, [0], top))
    frame, notes = frame_of(figure), figure.layout.annotations
    boxes = [box_around(frame.pixels(note.x, note.y)[0] + [note.ax, note.ay], note.text) for note in notes]
    assert len(boxes) == 8
    assert not any(overlap(box, other) for i, box in enumerate(boxes) for other in boxes[:i])
