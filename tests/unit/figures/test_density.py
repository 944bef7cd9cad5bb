import numpy as np
import pytest
from figure_reading import frame_of, subtitle, table_of, texts_in, titles

from an_neuron.figures import density as density_figures

AXES = {"layer": 31, "index": 892, "token": " an", "n_tokens": 1000, "occurrences": 30}


def density(count, activation_edge, margin_edge, **attributes):
    datasets = {
        "density": (np.array(count), "activation_bin", "margin_bin"),
        "activation_edge": (np.array(activation_edge, dtype=float), "activation_edge"),
        "margin_edge": (np.array(margin_edge, dtype=float), "margin_edge"),
    }
    return table_of(datasets, **AXES | {"top_predictions": 1010} | attributes)


def test_density_stands_in_for_the_scatter():
    table = density([[100, 10, 0, 0], [0, 1, 1000, 10]], [0, 1, 4], [-8, -2, 0, 1, 8])
    figure = density_figures.density_fig(table)
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
    assert (false.marker.color, true.marker.color) == ("#0077bb", "#cc3311")
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == 0
    assert subtitle(figure).startswith("1,121 tokens with positive activation")
    assert "Top predictions: 1010<br>Actual occurrences: 30" in texts_in(figure)
    assert red.customdata[0][1].tolist() == [1, 4, 0, 1, 1000]


def test_both_sides_share_one_scale():
    table = density([[100, 10, 0, 0], [0, 1, 1000, 10]], [0, 1, 4], [-8, -2, 0, 1, 8])
    layout = density_figures.density_fig(table).layout
    for axis in (layout.coloraxis, layout.coloraxis2):
        assert (axis.cmin, axis.cmax) == (0, 3)
        assert list(axis.colorbar.ticktext) == ["1", "10", "100", "1,000"]
        assert axis.colorbar.title.text is None
    assert not layout.coloraxis.colorbar.showticklabels


def test_narrow_bins_are_joined_and_no_token_is_lost():
    octaves = np.append(0, 2.0 ** np.linspace(-8, 2, 321))
    margins = np.append(-(2.0 ** np.linspace(3, -4, 57)), np.append(0, 2.0 ** np.linspace(-4, 3, 57)))
    count = np.random.default_rng(0).integers(0, 50, (len(octaves) - 1, len(margins) - 1))
    figure = density_figures.density_fig(density(count, octaves, margins))
    blue, red = figure.data[:2]
    frame = frame_of(figure)
    assert sum(np.nansum(10 ** np.asarray(trace.z)) for trace in (blue, red)) == pytest.approx(count.sum())
    assert np.nansum(10 ** np.asarray(red.z)) == pytest.approx(count[:, 57:].sum()), "none crosses margin 0"
    for trace in (blue, red):
        assert set(np.float32(trace.x)) <= set(np.float32(octaves))
        assert set(np.float32(trace.y)) <= set(np.float32(margins))
        assert np.diff(frame.pixels(trace.x, np.zeros(len(trace.x)))[:, 0]).min() >= 5
        assert np.diff(frame.pixels(np.zeros(len(trace.y)), trace.y)[:, 1]).max() <= -5


def test_one_side_or_one_bin_is_enough():
    figure = density_figures.density_fig(density([[7]], [0, 1], [2, 3], top_predictions=7))
    assert np.asarray(figure.data[0].z) == pytest.approx(np.log10([[7]]))
    assert figure.data[0].coloraxis == "coloraxis2"
    low, high = figure.layout.yaxis.range
    assert low < 0 < high, "the line at margin 0 is in the figure"


def test_bins_without_activation_are_left_out():
    table = density([[900, 90], [3, 4]], [-100, 0, 1], [-1, 0, 1])
    figure = density_figures.density_fig(table)
    assert subtitle(figure).startswith("7 tokens")
    assert list(figure.data[0].x) == [0, 1]


def test_no_density_gives_a_sentence():
    figure = density_figures.density_fig(density([[0]], [0, 1], [0, 1]))
    assert texts_in(figure) == ["The neuron is never active: no activation is positive."]


def test_signed_neurons_are_counted_on_both_sides():
    table = density([[900, 90], [3, 4]], [-100, 0, 1], [-1, 0, 1], signed=1)
    figure = density_figures.density_fig(table)
    assert titles(figure)[0] == 'Layer 31 Neuron 892 activations vs. " an" Logit subtract Top Other Logit'
    assert subtitle(figure).startswith("997 tokens with an activation of either sign")
    assert list(figure.data[0].x) == [-100, 0, 1]
    empty = density_figures.density_fig(density([[0]], [0, 1], [0, 1], signed=1))
    assert texts_in(empty) == ["The neuron is never active: every activation is 0."]
