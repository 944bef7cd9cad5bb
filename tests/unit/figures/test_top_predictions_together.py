import numpy as np
import pytest
from figure_reading import subtitle, table_of, texts_in

from an_neuron.figures.top_predictions_together import chosen, top_predictions_together_fig


def table(token=" an", index=1, f1=0.5, counts=((90, 10), (3, 7), (0, 9)), first_edge=0.0, **attributes):
    counts = np.array(counts)
    edges = first_edge + np.arange(len(counts) + 1) / 2
    attributes = {"signed": 0, "direction": "above", **attributes}
    datasets = {"bin_edge": (edges, "edge"), "bin_count": (counts, "bin", "is_top")}
    return table_of(datasets, token=token, layer=0, index=index, best_f1=f1, **attributes)


def test_a_line_holds_each_bins_proportion_and_marks_few_tokens():
    figure = top_predictions_together_fig([table()])
    (line,) = figure.data
    assert line.name == '" an", 0.1'
    assert list(line.x) == [0.25, 0.75, 1.25]
    assert list(line.y) == [0.1, 0.7, 1.0]
    assert list(line.marker.symbol) == ["circle", "circle", "circle-open"], "the last bin has nine tokens"
    assert subtitle(figure) == "bins of equal width for each neuron; open points: fewer than 10 tokens"


def test_the_studied_one_and_the_four_that_predict_best_are_drawn():
    tables = [table(index=number, f1=f1) for number, f1 in enumerate([0.0, 0.3, 0.9, np.nan, 0.5, 0.7, 0.4])]
    assert [one.attributes["index"] for one in chosen(tables)] == [0, 2, 5, 4, 6]
    figure = top_predictions_together_fig(tables)
    assert [line.name for line in figure.data] == [f'" an", 0.{number}' for number in (0, 2, 5, 4, 6)]
    assert len({line.line.color for line in figure.data}) == 5
    assert subtitle(figure).startswith("5 of 7 associations")


@pytest.mark.parametrize("direction", ["above", "below"])
def test_of_a_signed_neuron_the_side_that_tells_more_is_drawn(direction):
    """Bins from -1 to 1; below 0 there are ten tokens a bin, above 0 twenty."""
    counts = [(0, 10), (5, 5), (15, 5), (20, 0)]
    figure = top_predictions_together_fig([table(counts=counts, first_edge=-1.0, signed=1, direction=direction)])
    (line,) = figure.data
    assert list(line.x) == [0.25, 0.75]
    assert list(line.y) == ([0.25, 0.0] if direction == "above" else [0.5, 1.0])
    assert "distance from 0" in figure.layout.xaxis.title.text


def test_empty_bins_are_left_out_and_a_silent_neuron_said():
    figure = top_predictions_together_fig([table(counts=[(10, 0), (0, 0), (0, 10)])])
    assert list(figure.data[0].x) == [0.25, 1.25]
    silent = top_predictions_together_fig([table(counts=[(0, 0)])])
    assert texts_in(silent) == ["The neuron is never active: no activation is positive."]
