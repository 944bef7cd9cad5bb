import numpy as np
import plotly.graph_objects as go
import pytest
from figure_reading import arrows, assert_labels_are_clear, points, subtitle, table_of, titles

from an_neuron.figures import every_neuron, style

AN = " an"


def answer_table(values):
    return table_of(dict.fromkeys(("W_out_dot_W_U", "W_out_dot_W_E"), (values, "layer", "d_mlp")), token=AN)


def test_the_answer_against_every_neuron_labels_the_farthest_and_the_studied_one():
    values = np.random.default_rng(0).normal(0, 0.1, (3, 100))
    values[2, 40], values[0, 7], values[1, 50], values[1, 51], values[2, 3] = 3.0, -2.0, 1.5, 1.4, 1.3
    values[1, 9] = 0.9  # the studied one
    figure = every_neuron.answer_dot_neurons_fig(answer_table(values), (1, 9))
    assert titles(figure) == ('Output Weights of Each Neuron Dot the Unembedding of " an"', "Layer", "Dot Product")
    assert [text for _, _, text in arrows(figure)] == ["2.40", "0.7", "1.50", "1.51", "2.3", "1.9"]
    assert [x for x, _, _ in arrows(figure)] == pytest.approx([1.9, -0.43, 1.0, 1.01, 1.53, 0.59])
    assert [y for _, y, _ in arrows(figure)] == pytest.approx([3.0, -2.0, 1.5, 1.4, 1.3, 0.9], abs=1e-6)
    assert (figure.data[1].x[0], figure.data[1].y[0]) == pytest.approx((0.59, 0.9))
    assert subtitle(figure) == "300 neurons; ringed 1.9, number 6 by distance from 0"
    assert_labels_are_clear(figure)


def test_a_studied_neuron_among_the_farthest_is_labelled_once():
    values = np.zeros((2, 10))
    values[1, 3] = 5
    figure = every_neuron.answer_dot_neurons_fig(answer_table(values), (1, 3))
    assert [text for _, _, text in arrows(figure)].count("1.3") == 1
    assert subtitle(figure).endswith("ringed 1.3, number 1 by distance from 0")


@pytest.mark.parametrize(("static", "kind"), [(True, go.Scatter), (False, go.Scattergl)])
def test_too_many_neurons_are_thinned_but_for_the_labelled_ones(static, kind, monkeypatch):
    monkeypatch.setattr(style, "STATIC_LIMIT", 900)
    values = np.random.default_rng(0).normal(0, 0.1, (6, 1000))
    values[5, 999] = 2
    figure = every_neuron.answer_dot_neurons_fig(answer_table(values), (5, 999), static)
    assert type(figure.data[0]) is kind
    assert (points(figure) <= 901) == static
    assert figure.data[0].x[-1] == pytest.approx(5.499)


def exclusive_table(product):
    n = len(product)
    return table_of(
        {
            "token": (np.array([f" t{number}" for number in range(n)], dtype=object), "match"),
            "token_id": (np.arange(n), "match"),
            "layer": (np.arange(n) % 4, "match"),
            "index": (np.arange(n), "match"),
            "token_gap": (np.full(n, 2.0), "match"),
            "neuron_gap": (np.array(product) / 2, "match"),
            "product": (np.array(product), "match"),
        }
    )


def test_the_first_six_matches_are_labelled_at_their_logarithms():
    product = 100.0 / np.arange(1, 41)
    figure = every_neuron.exclusive_congruence_fig(exclusive_table(product))
    assert list(figure.data[0].x) == list(range(1, 41))
    assert list(figure.data[0].y) == pytest.approx(product, rel=1e-6)
    assert [text for _, _, text in arrows(figure)] == [f"' t{n}' → {n % 4}.{n}" for n in range(6)]
    assert [x for x, _, _ in arrows(figure)] == pytest.approx(np.log10(np.arange(1, 7)))
    assert [y for _, y, _ in arrows(figure)] == pytest.approx(np.log10(product[:6]), abs=1e-6)
    assert subtitle(figure).startswith("40 matches;")
    assert_labels_are_clear(figure)


def test_a_model_without_a_match_has_an_empty_figure():
    figure = every_neuron.exclusive_congruence_fig(exclusive_table([]))
    assert points(figure) == 0
    assert subtitle(figure).startswith("0 matches;")
