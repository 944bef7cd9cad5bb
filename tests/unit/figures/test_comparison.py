import subprocess
import sys

import pandas as pd
import pytest
from figure_reading import arrows, assert_labels_are_clear, subtitle, titles

from an_neuron.figures.comparison import comparison_fig

PEAR = {
    "study": "pear",
    "model": "resources/pear",
    "answer": " an",
    "neuron": "1.20",
    "depth": 0.5,
    "recovery": 0.6,
    "standard_error": 0.1,
    "raised": "' an' '<b>'",
    "source": "measured",
}
PUBLISHED = {
    **PEAR,
    "study": "an_neuron",
    "model": "gpt2-large",
    "neuron": "31.892",
    "depth": 0.8857,
    "recovery": 0.485,
    "standard_error": float("nan"),
    "source": "published, not measured here",
}


def test_each_study_has_a_marker_and_a_label_and_the_published_one_is_hollow():
    figure = comparison_fig(pd.DataFrame([PEAR, PUBLISHED]))
    assert titles(figure) == (
        "The Studied Neuron of Each Model",
        "Depth of the Neuron's Layer (0 = first, 1 = last)",
        "Recovery",
    )
    assert "hollow: published, not measured here" in subtitle(figure)
    pear, published = figure.data
    assert (list(pear.x), list(pear.y), list(published.x), list(published.y)) == ([0.5], [0.6], [0.8857], [0.485])
    assert (pear.marker.symbol, published.marker.symbol) == ("circle", "square-open")
    assert pear.marker.color != published.marker.color
    assert list(pear.error_y.array) == [0.1]
    assert published.error_y.array is None
    assert list(pear.customdata[0]) == ["pear", "resources/pear", " an", "1.20", "' an' '&lt;b&gt;'"]
    assert "Source=published, not measured here" in published.hovertemplate
    assert arrows(figure) == [
        (0.5, 0.6, "pear: 1.20<br>resources/pear"),
        (pytest.approx(0.8857), 0.485, "an_neuron: 31.892<br>gpt2-large (published)"),
    ]
    assert_labels_are_clear(figure)


def test_published_and_measured_values_of_one_model_share_its_colour():
    measured = {**PUBLISHED, "recovery": 0.49, "source": "measured"}
    figure = comparison_fig(pd.DataFrame([measured, PUBLISHED]))
    assert [trace.marker.color for trace in figure.data] == ["#1f77b4", "#1f77b4"]
    assert [trace.marker.symbol for trace in figure.data] == ["circle", "circle-open"]
    assert_labels_are_clear(figure)


def test_both_ends_of_recovery_and_negative_values_are_in_sight():
    figure = comparison_fig(pd.DataFrame([{**PEAR, "recovery": -0.5}]))
    low, high = figure.layout.yaxis.range
    assert low < -0.6
    assert high > 1


def test_the_figure_needs_no_torch():
    code = "import sys, an_neuron.figures.comparison; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
