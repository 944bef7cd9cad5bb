import numpy as np
import plotly.graph_objects as go
import pytest
from figure_reading import arrows, assert_labels_are_clear, table_of, titles

from an_neuron.figures import congruence


def alignment(values, tokens):
    values = np.array(values)
    names = ("W_out_dot_W_U", "W_out_dot_W_E", "W_in_dot_W_E")
    datasets = dict.fromkeys(names, (values, "d_vocab")) | {"token": (np.array(tokens), "d_vocab")}
    return table_of(datasets, layer=31, index=892)


def test_tokens_with_the_same_text_keep_their_own_places():
    table = alignment([0.5, 2.75, 0.1, 0.3], ["�", " an", "�", " incomprehensible"])
    figure = congruence.neuron_dot_vocab_fig(table)
    assert titles(figure) == (
        "Token Embeddings Dot Output Weights of Layer 31 MLP Neuron 892",
        "Token",
        "Dot Product",
    )
    assert list(figure.data[0].x) == [0, 1, 2, 3]
    assert figure.layout.xaxis.type != "category"
    assert list(figure.data[0].hovertext) == ["'�'", "' an'", "'�'", "' incompreh'"]
    assert [(x, text) for x, _, text in arrows(figure)] == [(1, "' an'"), (0, "'�'"), (3, "' incompreh'"), (2, "'�'")]


def test_the_seven_best_tokens_are_labelled_without_overlap():
    values = np.random.default_rng(0).normal(0, 0.1, 1000)
    values[100:109] = np.linspace(3.0, 2.2, 9)
    figure = congruence.neuron_dot_vocab_fig(alignment(values, [f" token{i}" for i in range(1000)]))
    assert [(x, y, text) for x, y, text in arrows(figure)] == [
        (100 + i, pytest.approx(3.0 - 0.1 * i), f"' token{100 + i}'") for i in range(7)
    ]
    assert_labels_are_clear(figure)


def test_most_similar_neurons_label_every_third_of_the_top_21():
    n = 40
    second = np.ones(n)
    table = table_of(
        {
            "value": (np.stack([second + np.arange(n) / 10, second], axis=1), "d_vocab", "rank"),
            "layer": (np.tile([31, 30], (n, 1)), "d_vocab", "rank"),
            "index": (np.tile([892, 7], (n, 1)), "d_vocab", "rank"),
            "token": (np.array([f"t{i}" for i in range(n)]), "d_vocab"),
        }
    )
    figure = congruence.most_similar_neurons_fig(table)
    assert titles(figure) == (
        "Difference between Top 2 Most Similar Neuron Output Weights for each Token Embedding",
        "Token",
        "Top 2 Dot Product Difference",
    )
    expected = [39 - 3 * i for i in range(7)]
    assert [(x, text) for x, _, text in arrows(figure)] == [(i, f"'t{i}'") for i in expected]
    assert [y for _, y, _ in arrows(figure)] == pytest.approx([i / 10 for i in expected], abs=1e-6)
    assert figure.data[0].hovertext[0] == "Layer: 31, Neuron: 892 - Layer: 30, Neuron: 7"
    assert figure.layout.yaxis.dtick == 1
    assert_labels_are_clear(figure)


@pytest.mark.parametrize(("static", "kind"), [(True, go.Scatter), (False, go.Scattergl)])
def test_many_tokens_are_drawn_as_vectors_in_files_and_in_webgl_in_browsers(static, kind):
    table = alignment(np.linspace(0, 1, 6000), ["x"] * 6000)
    assert type(congruence.neuron_dot_vocab_fig(table, static).data[0]) is kind
