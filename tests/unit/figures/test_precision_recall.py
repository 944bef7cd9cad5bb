import numpy as np
import pytest
from figure_reading import arrows, assert_labels_are_inside, frame_of, subtitle, table_of, texts_in, titles

from an_neuron.figures import precision_recall
from an_neuron.figures.labels import text_size

AXES = {"layer": 31, "index": 892, "token": " an", "n_tokens": 1000, "occurrences": 30}


def curve(threshold, precision, recall, best=None, **attributes):
    names = ("best_threshold", "best_precision", "best_recall", "best_f1")
    values = {"threshold": threshold, "precision": precision, "recall": recall}
    datasets = {name: (np.array(some, dtype=float), "threshold") for name, some in values.items()}
    best = dict(zip(names, best or [np.nan] * 4, strict=True))
    return table_of(datasets, **AXES | best | {"top_predictions": 20, "thresholds": "every activation"} | attributes)


THRESHOLD, PRECISION, RECALL = [0.0, 0.5, 1.5, 2.0], [0.25, 0.8, 1.0, np.nan], [1.0, 0.8, 0.25, 0.0]
BEST = [0.5, 0.8, 0.8, 0.8]


def test_the_best_threshold_is_annotated_with_what_it_gives():
    figure = precision_recall.precision_recall_fig(curve(THRESHOLD, PRECISION, RECALL, BEST))
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


def test_all_three_curves_are_drawn_as_far_as_they_have_values():
    figure = precision_recall.precision_recall_fig(curve(THRESHOLD, PRECISION, RECALL, BEST))
    precision, recall, f1 = figure.data
    assert [trace.name for trace in figure.data] == ["Precision", "Recall", "F1"]
    assert precision.y == pytest.approx(PRECISION, nan_ok=True)
    assert recall.y == pytest.approx(RECALL)
    assert f1.y == pytest.approx([0.4, 0.8, 0.4, np.nan], nan_ok=True)  # 2pr / (p + r)
    assert f1.line.width < recall.line.width
    assert figure.layout.showlegend
    assert len({trace.line.color for trace in figure.data}) == 3


def test_bin_edges_are_said_to_be_the_thresholds():
    table = curve(THRESHOLD, PRECISION, RECALL, BEST, thresholds="bin edges")
    assert subtitle(precision_recall.precision_recall_fig(table)) == "Thresholds: bin edges; 4 drawn"


@pytest.mark.parametrize("best", [0, 7, 14_000, 19_999])
def test_the_annotation_stays_inside_and_off_the_base_rate(best):
    threshold = np.linspace(0, 4, 20_000)
    recall = np.linspace(1, 0, 20_000)
    table = curve(threshold, 1 - recall, recall, [threshold[best], 1 - recall[best], recall[best], 0.3])
    figure = precision_recall.precision_recall_fig(table)
    assert_labels_are_inside(figure)
    (arrow,), (base,) = ([note for note in figure.layout.annotations if note.showarrow == way] for way in (True, False))
    frame = frame_of(figure)
    across, down = frame.pixels(arrow.x, arrow.y)[0] + [arrow.ax, arrow.ay]
    centre = np.array([base.x * frame.size[0], (1 - base.y) * frame.size[1]])
    sizes = np.add(text_size(arrow.text), text_size(base.text)) / 2
    assert (np.abs(centre - [across, down]) >= sizes).any()


def test_a_token_that_is_never_on_top_gives_a_sentence():
    table = curve(THRESHOLD, [0, 0, 0, np.nan], [np.nan] * 4, top_predictions=0, token="<b>\n")
    figure = precision_recall.precision_recall_fig(table)
    assert len(figure.data) == 0
    assert texts_in(figure) == ['"&lt;b&gt;↵" is nowhere the top prediction among 1,000 tokens: nothing to predict.']
    assert len(figure.layout.shapes) == 0


def test_without_a_best_threshold_none_is_marked():
    figure = precision_recall.precision_recall_fig(curve(THRESHOLD, [0, 0, 0, np.nan], [0.0] * 4))
    assert arrows(figure) == []
    assert len(figure.data) == 3
    assert np.isnan(figure.data[2].y).all()
    assert len(figure.layout.shapes) == 1


def test_a_curve_of_a_neuron_that_never_fires_gives_a_sentence():
    figure = precision_recall.precision_recall_fig(curve([0.0], [np.nan], [0.0]))
    assert texts_in(figure) == ["The neuron is never active: no activation is positive."]


def test_a_browser_shows_all_values_of_a_threshold_at_once():
    table = curve(THRESHOLD, PRECISION, RECALL, BEST)
    assert precision_recall.precision_recall_fig(table, static=False).layout.hovermode == "x unified"


def test_a_signed_neuron_that_tells_from_below_is_labelled_so():
    threshold, best = [0.0, -0.5, -1.5, -2.0], [-0.5, 0.8, 0.8, 0.8]
    figure = precision_recall.precision_recall_fig(
        curve(threshold, PRECISION, RECALL, best, signed=1, direction="below")
    )
    assert titles(figure) == (
        'Precision and recall of Layer 31 Neuron 892 activation &lt; t for top prediction " an"',
        "Threshold t of Layer 31 Neuron 892 activation",
        "Precision and recall",
    )
    text = "Best F1 0.800: activation &lt; -0.5<br>precision 0.800, recall 0.800"
    assert arrows(figure) == [(-0.5, pytest.approx(0.8), text)]
    assert_labels_are_inside(figure)


def test_a_signed_neuron_that_tells_from_above_is_labelled_so():
    table = curve(THRESHOLD, PRECISION, RECALL, BEST, signed=1, direction="above")
    figure = precision_recall.precision_recall_fig(table)
    assert "activation > t for" in titles(figure)[0]
    assert "activation > 0.5" in arrows(figure)[0][2]
