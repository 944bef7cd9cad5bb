import numpy as np
import pytest
from figure_reading import subtitle, table_of, texts_in, titles

from an_neuron.figures.ablation import ablation_fig

AXES = "association", "row", "place"


def losses(change, foil=" a"):
    """Return a table of two rows and two associations; the first neuron changes each loss by `change` of its place."""
    count = np.array([[[2, 4, 3], [1, 0, 8]], [[1, 0, 8], [0, 0, 9]]])
    change = np.array(change)[None, None, None] * np.array([1.0, -2.0])[None, :, None, None] * count[:, None]
    datasets = {
        "association_token": ([" an", " the"], "association"),
        "association_layer": ([25, 3], "association"),
        "association_index": ([1527, 4], "association"),
        "intervention": (["zero", "negated"], "intervention"),
        "place": (["token", "foil", "elsewhere"], "place"),
        "count": (count, *AXES),
        "group": ([0, 1], "row"),
    }
    for name in ("loss", "probability", "logit_difference"):
        datasets[name] = 0.5 * count, *AXES
        datasets[f"{name}_change"] = change, "association", "intervention", "row", "place"
    return table_of(datasets, foil=foil, resampled="row")


def test_each_intervention_has_an_interval_for_each_place():
    figure = ablation_fig(losses([0.4, -0.05, 0.00003]))
    assert titles(figure) == (
        "Loss Over the Corpus Without Layer 25 Neuron 1527",
        "Change of the Next-Token Loss in Nats (right: the model predicts worse)",
        "",
    )
    assert [trace.x[0] for trace in figure.data] == pytest.approx([0.4, -0.8, -0.05, 0.1, 3e-5, -6e-5], rel=1e-5)
    assert [trace.y[0] for trace in figure.data] == [1, 2, 4, 5, 7, 8]
    assert list(figure.layout.yaxis.tickvals) == [1, 2, 4, 5, 7, 8]
    assert list(figure.layout.yaxis.ticktext) == ["switched off", "negated"] * 3
    for trace in figure.data:
        assert trace.error_x.array == pytest.approx([0], abs=1e-6)  # each row changes alike
    assert texts_in(figure) == [
        '<b>Where " an" follows</b>: 3 tokens in 2 rows, loss 0.500 nats',
        "+0.400 (+0.400 to +0.400)",
        "−0.800 (−0.800 to −0.800)",
        '<b>Where " a" follows</b>: 4 tokens in 1 row, loss 0.500 nats',
        "−0.0500 (−0.0500 to −0.0500)",
        "+0.100 (+0.100 to +0.100)",
        "<b>Elsewhere</b>: 11 tokens in 2 rows, loss 0.500 nats",
        "+0.00003 (+0.00003 to +0.00003)",
        "−0.00006 (−0.00006 to −0.00006)",
    ]
    low, high = figure.layout.xaxis.range
    assert low < -0.8 < 0.4 < high
    assert "95 %" in subtitle(figure)


def test_tokens_are_no_markup_and_a_neuron_that_does_nothing_is_drawn():
    figure = ablation_fig(losses([0.0, 0.0, 0.0], foil="<b>"))
    assert '<b>Where "&lt;b&gt;" follows</b>: 4 tokens in 1 row, loss 0.500 nats' in texts_in(figure)
    assert "+0.000 (+0.000 to +0.000)" in texts_in(figure)
