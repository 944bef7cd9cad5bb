import numpy as np
import pytest
from figure_reading import arrows, assert_labels_are_clear, table_of, titles

from an_neuron.figures import prompts


def lens(values, own=0.986):
    n = len(values)
    return table_of(
        {
            "point_label": (np.array([f"{i // 2}_{'mid' if i % 2 else 'pre'}" for i in range(n)]), "point"),
            "x": (np.arange(n) / 2, "point"),
            "logit_difference": (np.array([values]), "prompt_pair", "point"),
            "mean_logit_difference": (np.array(values), "point"),
            "model_logit_difference": (np.array([own - 0.5, own + 0.5]), "prompt_pair"),
        },
        answer=" an",
        foil=" a",
        layers=n // 2,
    )


def test_lens_annotates_its_maximum_and_draws_the_models_own_difference():
    figure = prompts.logit_lens_fig(lens([-1.0, -0.5, 0.25, 1.09, 0.4]))
    assert titles(figure) == ("Logit Difference From Residual Stream", "Layer", "Logit Difference")
    assert arrows(figure) == [(1.5, pytest.approx(1.09), "Logit Difference spikes to 1.09")]
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == pytest.approx(0.986)
    assert line.line.dash == "dash"
    assert any("0.99" in note.text for note in figure.layout.annotations if not note.showarrow)
    (trace,) = figure.data
    assert trace.mode == "lines"
    assert list(trace.hovertext) == ["0_pre", "0_mid", "1_pre", "1_mid", "2_pre"]
    assert not figure.layout.showlegend
    assert_labels_are_clear(figure)


def test_lens_calls_only_a_maximum_between_lower_points_a_spike():
    figure = prompts.logit_lens_fig(lens([0.0, 1.0, 5.2], own=5.1))
    assert arrows(figure) == [(1.0, pytest.approx(5.2), "Logit Difference peaks at 5.20")]
