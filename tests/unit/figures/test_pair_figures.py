import subprocess
import sys

import numpy as np
import pytest
from figure_reading import arrows, frame_of, texts_in, titles

from an_neuron.figures import corpus
from an_neuron.figures.labels import box_around, text_size

RED = "red"
AXES = {"layer": 31, "index": 892, "token": " an", "n_tokens": 1000, "occurrences": 30}


def subtitle(figure):
    return figure.layout.title.subtitle.text


def assert_labels_are_inside(figure):
    """Check every annotation of the plot area; the bars' share of it is theirs."""
    width, height = frame_of(figure).size
    low, high = figure.layout.yaxis.domain or (0, 1)
    for note in figure.layout.annotations:
        if note.showarrow:
            place = frame_of(figure).pixels(note.x, note.y)[0] + [note.ax, note.ay]
        elif note.xref == "x domain":
            place = np.array([note.x * width, (1 - note.y) * height * (high - low)])
        else:
            continue
        left, top, right, bottom = box_around(place, note.text)
        assert left > 0
        assert top > 0
        assert right < width
        assert bottom < height * (high - low)


# The proportion of top predictions


def bins(stored, counts, edges=None, token=" an", **attributes):
    counts = np.array(counts).reshape(-1, 2)
    edges = np.arange(len(counts) + 1) / 2 if edges is None else np.array(edges)
    datasets = {"bin_edge": (edges, "edge"), "bin_count": (counts, "bin", "is_top")}
    return stored(datasets, **AXES | {"top_predictions": int(counts[:, 1].sum()), "token": token} | attributes)


def test_wilson_intervals_are_those_done_by_hand():
    # n = 10, p = 0.8, z = 1.96: (0.8 + 0.192 -+ 1.96 * sqrt(0.016 + 0.0096)) / 1.384
    low, high = corpus.wilson_interval(np.array([8, 0, 10, 0]), np.array([10, 10, 10, 0]))
    assert low == pytest.approx([0.4902, 0.0, 0.7225, np.nan], abs=1e-4, nan_ok=True)
    assert high == pytest.approx([0.9433, 0.2775, 1.0, np.nan], abs=1e-4, nan_ok=True)


def test_bars_fill_up_to_the_proportion_in_red_and_above_it_in_blue(stored):
    figure = corpus.top_prediction_fig(bins(stored, [[90, 10], [2, 8]]))
    assert titles(figure) == (
        'Top predictions of " an" by Layer 31 Neuron 892 activation',
        "Layer 31 Neuron 892 activation",
        'Proportion with top prediction " an"',
    )
    red, blue, intervals, counts = figure.data
    assert (red.name, red.marker.color, blue.name) == ("True", RED, "False")
    assert "0, 0, 255" in blue.marker.color
    assert figure.layout.barmode == "stack"
    assert list(red.x) == list(blue.x) == [0.25, 0.75]
    assert list(red.width) == [0.5, 0.5]
    assert red.y == pytest.approx([0.1, 0.8])
    assert blue.y == pytest.approx([0.9, 0.2])
    assert intervals.y == pytest.approx([0.1, 0.8])
    assert intervals.y[1] - intervals.error_y.arrayminus[1] == pytest.approx(0.4902, abs=1e-4)
    assert intervals.y[1] + intervals.error_y.array[1] == pytest.approx(0.9433, abs=1e-4)
    assert list(counts.y) == [100, 10]
    assert list(counts.text) == ["100", "10"]
    assert counts.yaxis == "y2"
    assert figure.layout.yaxis2.type == "log"
    assert subtitle(figure) == "110 tokens with positive activation; with 95 % Wilson intervals"


def test_the_panels_do_not_overlap_and_the_counts_fit_theirs(stored):
    figure = corpus.top_prediction_fig(bins(stored, [[1_000_000, 0], [0, 1]], n_tokens=2_000_000))
    assert figure.layout.yaxis.domain[1] < figure.layout.yaxis2.domain[0]
    low, high = figure.layout.yaxis2.range
    assert low < 0, "a bin with one token has a bar"
    assert high > 6


def test_the_base_rate_is_that_of_all_tokens(stored):
    figure = corpus.top_prediction_fig(bins(stored, [[90, 10], [2, 8]], top_predictions=20))
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == pytest.approx(0.02)
    assert line.line.dash == "dash"
    assert texts_in(figure) == ["Base rate: 0.02 (20 of 1,000 tokens)"]
    assert_labels_are_inside(figure)


def test_the_base_rate_is_labelled_inside_wherever_it_lies(stored):
    for top in (0, 500, 1000):
        table = bins(stored, [[50, 50]] * 40, top_predictions=top)
        assert_labels_are_inside(corpus.top_prediction_fig(table))


def test_empty_bins_have_no_bar_and_no_interval(stored):
    figure = corpus.top_prediction_fig(bins(stored, [[3, 1], [0, 0], [1, 0]]))
    red, blue, intervals, counts = figure.data
    for trace in (red, blue, intervals):
        assert list(trace.x) == [0.25, 1.25]
    assert np.isnan(counts.y[1])
    assert list(counts.text) == ["4", "", "1"]


def test_one_bin_is_drawn(stored):
    figure = corpus.top_prediction_fig(bins(stored, [[2, 8]], edges=[0, 2**-8]))
    assert [len(trace.x) for trace in figure.data] == [1] * 4
    assert figure.data[0].y == pytest.approx([0.8])
    assert_labels_are_inside(figure)


def test_a_browser_has_the_counts_under_the_pointer(stored):
    red, _, _, counts = corpus.top_prediction_fig(bins(stored, [[2, 8]]), static=False).data
    assert list(counts.text) == [""]
    assert red.customdata[0] == pytest.approx([0, 0.5, 8, 10, 0.4902, 0.9433], abs=1e-4)


def test_a_token_that_is_never_on_top_has_blue_bars_only(stored):
    figure = corpus.top_prediction_fig(bins(stored, [[10, 0], [5, 0]]))
    assert list(figure.data[0].y) == [0, 0]
    assert figure.data[1].y == pytest.approx([1, 1])
    assert texts_in(figure) == ["Base rate: 0 (0 of 1,000 tokens)"]


def test_a_neuron_that_never_fires_gives_a_sentence(stored):
    figure = corpus.top_prediction_fig(bins(stored, [[0, 0]]))
    assert len(figure.data) == 0
    assert texts_in(figure) == ["The neuron is never active: no activation is positive."]


@pytest.mark.parametrize(
    ("token", "shown"), [("<b>", "&lt;b&gt;"), ("\n", "↵"), ("\0", "\N{SYMBOL FOR NULL}"), ("&", "&amp;")]
)
def test_markup_in_tokens_is_shown_letter_by_letter(stored, token, shown):
    token = token.replace("\0", "\N{SYMBOL FOR NULL}")  # as a tokenizer's texts are stored
    figure = corpus.top_prediction_fig(bins(stored, [[2, 8]], token=token))
    assert titles(figure)[2] == f'Proportion with top prediction "{shown}"'


def test_a_long_token_gets_a_line_of_its_own(stored):
    figure = corpus.top_prediction_fig(bins(stored, [[2, 8]], token=" incomprehensible"))
    assert titles(figure)[2] == 'Proportion with top prediction<br>" incomprehensible"'


# Precision and recall


def curve(stored, threshold, precision, recall, best=None, **attributes):
    names = ("best_threshold", "best_precision", "best_recall", "best_f1")
    values = {"threshold": threshold, "precision": precision, "recall": recall}
    datasets = {name: (np.array(some, dtype=float), "threshold") for name, some in values.items()}
    best = dict(zip(names, best or [np.nan] * 4, strict=True))
    return stored(datasets, **AXES | best | {"top_predictions": 20, "thresholds": "every activation"} | attributes)


THRESHOLD, PRECISION, RECALL = [0.0, 0.5, 1.5, 2.0], [0.25, 0.8, 1.0, np.nan], [1.0, 0.8, 0.25, 0.0]
BEST = [0.5, 0.8, 0.8, 0.8]


def test_the_best_threshold_is_annotated_with_what_it_gives(stored):
    figure = corpus.precision_recall_fig(curve(stored, THRESHOLD, PRECISION, RECALL, BEST))
    assert titles(figure) == (
        'Precision and recall of Layer 31 Neuron 892 activation for top prediction " an"',
        "Threshold of Layer 31 Neuron 892 activation",
        "Precision and recall",
    )
    text = "Best F1 0.800: activation > 0.5<br>precision 0.800, recall 0.800"
    assert arrows(figure) == [(0.5, pytest.approx(0.8), text)]
    vertical, base = figure.layout.shapes
    assert (vertical.x0, vertical.x1, vertical.line.dash) == (0.5, 0.5, "dash")
    assert (base.y0, base.y1, base.line.dash) == (0.02, 0.02, "dash")
    assert texts_in(figure) == ["Base rate: 0.02 (20 of 1,000 tokens)"]
    assert subtitle(figure) == "Thresholds: every activation; 4 drawn"
    assert_labels_are_inside(figure)


def test_all_three_curves_are_drawn_as_far_as_they_have_values(stored):
    figure = corpus.precision_recall_fig(curve(stored, THRESHOLD, PRECISION, RECALL, BEST))
    precision, recall, f1 = figure.data
    assert [trace.name for trace in figure.data] == ["Precision", "Recall", "F1"]
    assert precision.y == pytest.approx(PRECISION, nan_ok=True)
    assert recall.y == pytest.approx(RECALL)
    assert f1.y == pytest.approx([0.4, 0.8, 0.4, np.nan], nan_ok=True)  # 2pr / (p + r)
    assert f1.line.width < recall.line.width
    assert figure.layout.showlegend
    assert len({trace.line.color for trace in figure.data}) == 3


def test_bin_edges_are_said_to_be_the_thresholds(stored):
    table = curve(stored, THRESHOLD, PRECISION, RECALL, BEST, thresholds="bin edges")
    assert subtitle(corpus.precision_recall_fig(table)) == "Thresholds: bin edges; 4 drawn"


@pytest.mark.parametrize("best", [0, 7, 14_000, 19_999])
def test_the_annotation_stays_inside_and_off_the_base_rate(stored, best):
    threshold = np.linspace(0, 4, 20_000)
    recall = np.linspace(1, 0, 20_000)
    table = curve(stored, threshold, 1 - recall, recall, [threshold[best], 1 - recall[best], recall[best], 0.3])
    figure = corpus.precision_recall_fig(table)
    assert_labels_are_inside(figure)
    (arrow,), (base,) = ([note for note in figure.layout.annotations if note.showarrow == way] for way in (True, False))
    frame = frame_of(figure)
    across, down = frame.pixels(arrow.x, arrow.y)[0] + [arrow.ax, arrow.ay]
    centre = np.array([base.x * frame.size[0], (1 - base.y) * frame.size[1]])
    sizes = np.add(text_size(arrow.text), text_size(base.text)) / 2
    assert (np.abs(centre - [across, down]) >= sizes).any()


def test_a_token_that_is_never_on_top_gives_a_sentence(stored):
    table = curve(stored, THRESHOLD, [0, 0, 0, np.nan], [np.nan] * 4, top_predictions=0, token="<b>\n")
    figure = corpus.precision_recall_fig(table)
    assert len(figure.data) == 0
    assert texts_in(figure) == ['"&lt;b&gt;↵" is nowhere the top prediction among 1,000 tokens: nothing to predict.']
    assert len(figure.layout.shapes) == 0


def test_without_a_best_threshold_none_is_marked(stored):
    figure = corpus.precision_recall_fig(curve(stored, THRESHOLD, [0, 0, 0, np.nan], [0.0] * 4))
    assert arrows(figure) == []
    assert len(figure.data) == 3
    assert np.isnan(figure.data[2].y).all()
    assert len(figure.layout.shapes) == 1


def test_a_curve_of_a_neuron_that_never_fires_gives_a_sentence(stored):
    figure = corpus.precision_recall_fig(curve(stored, [0.0], [np.nan], [0.0]))
    assert texts_in(figure) == ["The neuron is never active: no activation is positive."]


def test_a_browser_shows_all_values_of_a_threshold_at_once(stored):
    table = curve(stored, THRESHOLD, PRECISION, RECALL, BEST)
    assert corpus.precision_recall_fig(table, static=False).layout.hovermode == "x unified"


# Density


def density(stored, count, activation_edge, margin_edge, **attributes):
    datasets = {
        "density": (np.array(count), "activation_bin", "margin_bin"),
        "activation_edge": (np.array(activation_edge, dtype=float), "activation_edge"),
        "margin_edge": (np.array(margin_edge, dtype=float), "margin_edge"),
    }
    return stored(datasets, **AXES | {"top_predictions": 1010} | attributes)


def test_density_stands_in_for_the_scatter(stored):
    table = density(stored, [[100, 10, 0, 0], [0, 1, 1000, 10]], [0, 1, 4], [-8, -2, 0, 1, 8])
    figure = corpus.density_fig(table)
    assert titles(figure) == (
        'Layer 31 Neuron 892 activations (>=0) vs. " an" Logit subtract Top Other Logit',
        "Layer 31 Neuron 892 activation",
        '" an" Logit - Max Other Logit',
    )
    blue, red, false, true = figure.data
    assert list(blue.x) == list(red.x) == [0, 1, 4], "edges, so that bins are drawn true to scale"
    assert (list(blue.y), list(red.y)) == ([-8, -2, 0], [0, 1, 8])
    assert np.asarray(blue.z) == pytest.approx(np.array([[2, np.nan], [1, 0]]), nan_ok=True)
    assert np.asarray(red.z) == pytest.approx(np.array([[np.nan, 3], [np.nan, 1]]), nan_ok=True)
    assert (false.marker.color, true.marker.color) == ("blue", "red")
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == 0
    assert subtitle(figure).startswith("1,121 tokens with positive activation")
    assert "Top predictions: 1010<br>Actual occurrences: 30" in texts_in(figure)
    assert red.customdata[0][1].tolist() == [1, 4, 0, 1, 1000]


def test_both_sides_share_one_scale(stored):
    table = density(stored, [[100, 10, 0, 0], [0, 1, 1000, 10]], [0, 1, 4], [-8, -2, 0, 1, 8])
    layout = corpus.density_fig(table).layout
    for axis in (layout.coloraxis, layout.coloraxis2):
        assert (axis.cmin, axis.cmax) == (0, 3)
        assert list(axis.colorbar.ticktext) == ["1", "10", "100", "1,000"]
        assert axis.colorbar.title.text is None
    assert not layout.coloraxis.colorbar.showticklabels


def test_narrow_bins_are_joined_and_no_token_is_lost(stored):
    octaves = np.append(0, 2.0 ** np.linspace(-8, 2, 321))
    margins = np.append(-(2.0 ** np.linspace(3, -4, 57)), np.append(0, 2.0 ** np.linspace(-4, 3, 57)))
    count = np.random.default_rng(0).integers(0, 50, (len(octaves) - 1, len(margins) - 1))
    figure = corpus.density_fig(density(stored, count, octaves, margins))
    blue, red = figure.data[:2]
    frame = frame_of(figure)
    assert sum(np.nansum(10 ** np.asarray(trace.z)) for trace in (blue, red)) == pytest.approx(count.sum())
    assert np.nansum(10 ** np.asarray(red.z)) == pytest.approx(count[:, 57:].sum()), "none crosses margin 0"
    for trace in (blue, red):
        assert set(np.float32(trace.x)) <= set(np.float32(octaves))
        assert set(np.float32(trace.y)) <= set(np.float32(margins))
        assert np.diff(frame.pixels(trace.x, np.zeros(len(trace.x)))[:, 0]).min() >= 5
        assert np.diff(frame.pixels(np.zeros(len(trace.y)), trace.y)[:, 1]).max() <= -5


def test_one_side_or_one_bin_is_enough(stored):
    figure = corpus.density_fig(density(stored, [[7]], [0, 1], [2, 3], top_predictions=7))
    assert np.asarray(figure.data[0].z) == pytest.approx(np.log10([[7]]))
    assert figure.data[0].coloraxis == "coloraxis2"
    low, high = figure.layout.yaxis.range
    assert low < 0 < high, "the line at margin 0 is in the figure"


def test_bins_without_activation_are_left_out(stored):
    table = density(stored, [[900, 90], [3, 4]], [-100, 0, 1], [-1, 0, 1])
    figure = corpus.density_fig(table)
    assert subtitle(figure).startswith("7 tokens")
    assert list(figure.data[0].x) == [0, 1]


def test_no_density_gives_a_sentence(stored):
    figure = corpus.density_fig(density(stored, [[0]], [0, 1], [0, 1]))
    assert texts_in(figure) == ["The neuron is never active: no activation is positive."]


def test_drawing_needs_no_torch():
    code = "import sys, an_neuron.figures.corpus; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
