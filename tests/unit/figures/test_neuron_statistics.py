import numpy as np
import pytest
from figure_reading import arrows, assert_labels_are_clear, points, subtitle, table_of, titles

from an_neuron.figures import style
from an_neuron.figures.neuron_statistics import neuron_statistics_fig

STUDIED = {"layer": 4, "index": 1, "token": " an"}


def statistics(firing_rate=((0.5, 0.001, 0.2), (0.3, 0.01, 0.0)), signed=0):
    shape = np.shape(firing_rate)
    kurtosis = 1 / np.maximum(firing_rate, 1e-3)
    datasets = {
        "layer": (np.array([2, 4]), "layer"),
        "firing_rate": (np.array(firing_rate), "layer", "d_mlp"),
        **{name: (np.ones(shape), "layer", "d_mlp") for name in ("mean", "maximum")},
        "kurtosis": (kurtosis, "layer", "d_mlp"),
    }
    return table_of(datasets, signed=signed, n_tokens=8_176)


def test_every_neuron_that_fires_is_a_point_and_the_studied_one_is_ringed():
    figure = neuron_statistics_fig(statistics(), STUDIED)
    every, ring = figure.data
    found = dict(zip(every.hovertext, zip(every.x, every.y, every.marker.color, strict=True), strict=True))
    assert set(found) == {"2.0", "2.1", "2.2", "4.0", "4.1"}, "4.2 never fires"
    assert found["4.1"] == pytest.approx((0.01, 100, 4))
    assert (ring.x[0], ring.y[0]) == pytest.approx((0.01, 100))
    (label,) = arrows(figure)
    assert label[2] == '4.1 (" an")'
    assert label[:2] == pytest.approx((-2, 2), abs=1e-6)
    assert subtitle(figure) == "6 neurons of 2 layers, 8,176 tokens; 1 that never fire are left out"
    assert titles(figure)[1] == "Firing Rate: Share of Tokens With an Activation Above 0"
    assert_labels_are_clear(figure)


def test_a_neuron_that_was_not_watched_is_not_marked():
    figure = neuron_statistics_fig(statistics(signed=1), {**STUDIED, "layer": 3})
    assert len(figure.data) == 1
    assert not arrows(figure)
    assert titles(figure)[1].endswith("|Activation| Above a Tenth of the Largest")


def test_too_many_points_are_thinned_but_for_the_studied_one(monkeypatch):
    monkeypatch.setattr(style, "STATIC_LIMIT", 50)
    rates = np.full((2, 500), 0.25)
    rates[1, 1] = 0.01
    figure = neuron_statistics_fig(statistics(rates), STUDIED)
    assert points(figure) < 50
    assert "4.1" in figure.data[0].hovertext
    assert "drawn, one wherever they overlap" in subtitle(figure)
