import numpy as np
import pytest
from figure_reading import assert_labels_are_inside, subtitle, table_of, texts_in, titles

from an_neuron.figures import choice as choice_figures
from an_neuron.figures import style

AXES = {"layer": 25, "index": 1527, "token": " an", "foil": " a", "least_expected": 0.2, "direction": "above"}
CORRELATIONS = {
    "resampled": "row", "pearson": 0.801, "pearson_low": 0.75, "pearson_high": 0.849,
    "spearman": 0.77, "spearman_low": 0.7, "spearman_high": 0.8,
}  # fmt: skip


def choice(activation, difference, kind, **attributes):
    columns = {"activation": np.array(activation, float), "logit_difference": np.array(difference, float)}
    columns["next"] = np.array(kind, int)
    datasets = {name: (values, "position") for name, values in columns.items()}
    datasets["edge"] = (np.array([-3.0, 0.5, 1.0, 2.0, 4.0, 8.0, 18.0]), "edge")
    bins = {
        "count": [50, 25, 15, 5, 4, 1], "answers": [3, 4, 5, 3, 2, 0], "answers_or_foils": [30, 20, 10, 4, 2, 0],
        "mean_p_answer": [0.1, 0.2, 0.4, 0.7, 0.9, 0.99],
        "share_low": [0.03, 0.08, 0.24, 0.3, 0.34, np.nan], "share_high": [0.26, 0.42, 0.76, 0.95, 1.0, np.nan],
    }  # fmt: skip
    datasets |= {name: (np.array(values), "bin") for name, values in bins.items()}
    n = {"n_positions": len(activation), "n_held": len(activation), "n_rows": 24}
    return table_of(datasets, **AXES | CORRELATIONS | n | attributes)


def test_points_are_coloured_by_the_token_that_follows():
    figure = choice_figures.choice_scatter_fig(choice([1, 2, -3, 4], [-1, 0, -2, 3], [0, 2, 2, 1]))
    assert titles(figure) == (
        'Layer 25 Neuron 1527 activation and the choice between " an" and " a"',
        "Layer 25 Neuron 1527 activation",
        'logit(" an") - logit(" a")',
    )
    other, foil, answer = figure.data
    assert [(trace.name, trace.marker.color) for trace in figure.data] == [
        ("other", "#a0a0a0"), ('" a"', "#0077bb"), ('" an"', "#cc3311"),
    ]  # fmt: skip
    assert [list(trace.x) for trace in (other, foil, answer)] == [[1], [2, -3], [4]]
    assert [list(trace.y) for trace in (other, foil, answer)] == [[-1], [0, -2], [3]]
    assert subtitle(figure) == (
        '4 positions in 24 rows where p(" an") + p(" a") > 0.2<br>Pearson 0.80 (0.75 to 0.85), '
        "Spearman 0.77 (0.70 to 0.80); 95 % bootstrap intervals by row"
    )
    low, high = figure.layout.xaxis.range
    assert low < -3 < 4 < high


def test_too_many_points_are_thinned_and_counted(monkeypatch):
    monkeypatch.setattr(style, "STATIC_LIMIT", 1_000)
    generator = np.random.default_rng(0)
    x = generator.normal(size=5_000)
    table = choice(x, x + generator.normal(size=5_000), generator.integers(0, 3, 5_000))
    figure = choice_figures.choice_scatter_fig(table)
    drawn = sum(len(trace.x) for trace in figure.data)
    assert drawn <= 1_000
    assert f"({drawn:,} drawn)<br>Pearson" in subtitle(figure)
    assert sum(len(trace.x) for trace in choice_figures.choice_scatter_fig(table, static=False).data) == 5_000


def test_proportions_of_the_model_and_of_the_text_stand_beside_each_other():
    figure = choice_figures.choice_proportion_fig(choice([1.0], [1.0], [1]))
    real, model = figure.data
    assert list(real.x) == [0, 1, 2, 3, 4], "a bin without answer or foil has no share"
    assert real.y == pytest.approx([0.1, 0.2, 0.5, 0.75, 1.0])
    assert real.error_y.array == pytest.approx([0.16, 0.22, 0.26, 0.2, 0.0], abs=1e-6)
    assert real.error_y.arrayminus == pytest.approx([0.07, 0.12, 0.26, 0.45, 0.66], abs=1e-6)
    assert model.y == pytest.approx([0.1, 0.2, 0.4, 0.7, 0.9, 0.99])
    assert (real.name, model.name) == ("in the text", "the model's mean p")
    assert texts_in(figure)[:6] == [
        "3<br>of 30",
        "4<br>of 20",
        "5<br>of 10",
        "3<br>of 4",
        "2<br>of 2",
        "Base rate: 0.26 (17 of 66)",
    ]
    assert texts_in(figure)[5] == "Base rate: 0.26 (17 of 66)"
    names = figure.layout.xaxis.ticktext
    assert (names[0], names[-1]) == (
        "lowest 50 %<br>-3.00<br>to 0.50<br>n = 50",
        "highest 1 %<br>8.00<br>to 18.00<br>n = 1",
    )
    assert_labels_are_inside(figure)


def test_bins_are_named_by_what_they_hold_where_activations_are_equal():
    table = choice([1.0], [1.0], [1])
    table.datasets["count"] = np.array([78, 0, 12, 5, 4, 1])
    names = choice_figures.choice_proportion_fig(table).layout.xaxis.ticktext
    assert [name.split("<br>")[0] for name in names] == [
        "lowest 78 %", "no other", "78–90 %", "90–95 %", "95–99 %", "highest 1 %",
    ]  # fmt: skip


def test_bins_that_are_turned_are_named_so():
    names = choice_figures.choice_proportion_fig(choice([1.0], [1.0], [1], direction="below")).layout.xaxis.ticktext
    assert names[0].startswith("highest 50 %")
    assert names[-1].startswith("lowest 1 %")


@pytest.mark.parametrize("draw", [choice_figures.choice_scatter_fig, choice_figures.choice_proportion_fig])
def test_where_neither_is_expected_a_sentence_says_so(draw):
    figure = draw(choice([], [], [], foil="<b>"))
    assert len(figure.data) == 0
    assert texts_in(figure) == ['p(" an") + p("&lt;b&gt;") is nowhere above 0.2: there is no choice to look at.']
