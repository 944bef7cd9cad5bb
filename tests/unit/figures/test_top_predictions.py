import numpy as np
import pytest
from figure_reading import assert_labels_are_inside, subtitle, table_of, texts_in, titles

from an_neuron.figures import top_predictions

AXES = {"layer": 31, "index": 892, "token": " an", "n_tokens": 1000, "occurrences": 30}


def bins(counts, edges=None, token=" an", **attributes):
    counts = np.array(counts).reshape(-1, 2)
    edges = np.arange(len(counts) + 1) / 2 if edges is None else np.array(edges)
    datasets = {"bin_edge": (edges, "edge"), "bin_count": (counts, "bin", "is_top")}
    return table_of(datasets, **AXES | {"top_predictions": int(counts[:, 1].sum()), "token": token} | attributes)


def test_bars_fill_up_to_the_proportion_in_red_and_above_it_in_blue():
    figure = top_predictions.top_prediction_fig(bins([[90, 10], [2, 8]]))
    assert titles(figure) == (
        'Top predictions of " an" by Layer 31 Neuron 892 activation',
        "Layer 31 Neuron 892 activation",
        'Proportion with top prediction " an"',
    )
    red, blue, intervals, counts = figure.data
    assert (red.name, red.marker.color, blue.name) == ("True", "#cc3311", "False")
    assert "0, 119, 187" in blue.marker.color
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


def test_the_panels_do_not_overlap_and_the_counts_fit_theirs():
    figure = top_predictions.top_prediction_fig(bins([[1_000_000, 0], [0, 1]], n_tokens=2_000_000))
    assert figure.layout.yaxis.domain[1] < figure.layout.yaxis2.domain[0]
    low, high = figure.layout.yaxis2.range
    assert low < 0, "a bin with one token has a bar"
    assert high > 6


def test_the_base_rate_is_that_of_all_tokens():
    figure = top_predictions.top_prediction_fig(bins([[90, 10], [2, 8]], top_predictions=20))
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == pytest.approx(0.02)
    assert line.line.dash == "dash"
    assert texts_in(figure) == ["Base rate: 0.02 (20 of 1,000 tokens)"]
    assert_labels_are_inside(figure)


def test_the_base_rate_is_labelled_inside_wherever_it_lies():
    for top in (0, 500, 1000):
        table = bins([[50, 50]] * 40, top_predictions=top)
        assert_labels_are_inside(top_predictions.top_prediction_fig(table))


def test_empty_bins_have_no_bar_and_no_interval():
    figure = top_predictions.top_prediction_fig(bins([[3, 1], [0, 0], [1, 0]]))
    red, blue, intervals, counts = figure.data
    for trace in (red, blue, intervals):
        assert list(trace.x) == [0.25, 1.25]
    assert np.isnan(counts.y[1])
    assert list(counts.text) == ["4", "", "1"]


def test_one_bin_is_drawn():
    figure = top_predictions.top_prediction_fig(bins([[2, 8]], edges=[0, 2**-8]))
    assert [len(trace.x) for trace in figure.data] == [1] * 4
    assert figure.data[0].y == pytest.approx([0.8])
    assert_labels_are_inside(figure)


def test_a_browser_has_the_counts_under_the_pointer():
    red, _, _, counts = top_predictions.top_prediction_fig(bins([[2, 8]]), static=False).data
    assert list(counts.text) == [""]
    assert red.customdata[0] == pytest.approx([0, 0.5, 8, 10, 0.4902, 0.9433], abs=1e-4)


def test_a_token_that_is_never_on_top_has_blue_bars_only():
    figure = top_predictions.top_prediction_fig(bins([[10, 0], [5, 0]]))
    assert list(figure.data[0].y) == [0, 0]
    assert figure.data[1].y == pytest.approx([1, 1])
    assert texts_in(figure) == ["Base rate: 0 (0 of 1,000 tokens)"]


def test_a_neuron_that_never_fires_gives_a_sentence():
    figure = top_predictions.top_prediction_fig(bins([[0, 0]]))
    assert len(figure.data) == 0
    assert texts_in(figure) == ["The neuron is never active: no activation is positive."]


@pytest.mark.parametrize(
    ("token", "shown"), [("<b>", "&lt;b&gt;"), ("\n", "↵"), ("\0", "\N{SYMBOL FOR NULL}"), ("&", "&amp;")]
)
def test_markup_in_tokens_is_shown_letter_by_letter(token, shown):
    token = token.replace("\0", "\N{SYMBOL FOR NULL}")  # as a tokenizer's texts are stored
    figure = top_predictions.top_prediction_fig(bins([[2, 8]], token=token))
    assert titles(figure)[2] == f'Proportion with top prediction "{shown}"'


def test_a_long_token_gets_a_line_of_its_own():
    figure = top_predictions.top_prediction_fig(bins([[2, 8]], token=" incomprehensible"))
    assert titles(figure)[2] == 'Proportion with top prediction<br>" incomprehensible"'


def test_bars_of_signed_neurons_are_on_both_sides():
    figure = top_predictions.top_prediction_fig(bins([[2, 8], [9, 1]], edges=[-1, 0, 1], signed=1))
    red, blue, _, counts = figure.data
    assert list(red.x) == list(blue.x) == list(counts.x) == [-0.5, 0.5]
    assert red.y == pytest.approx([0.8, 0.1])
    assert subtitle(figure) == "20 tokens with an activation of either sign; with 95 % Wilson intervals"
    assert "activation from %{customdata[0]:.4g} to" in red.hovertemplate
    assert_labels_are_inside(figure)
