import numpy as np
import pandas as pd
import pytest
import torch
from figure_reading import titles

from an_neuron.errors import UserError
from an_neuron.figures.prompt_set import prompt_set_fig
from an_neuron.files import hdf5
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.prompt_set import (
    candidates,
    n_tests,
    statistics,
    write_neurons_csv,
    write_pairs_csv,
    write_prompt_set,
)
from an_neuron.patching.sweeps import patch_listed_neurons, patch_neurons
from an_neuron.prompts.pairs import PromptPair
from an_neuron.prompts.prompt_set import WrittenPair

PROMPT_PAIRS = [
    PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9]),
    PromptPair([0, 5, 14, 2], [0, 5, 15, 2]),
]
NEURONS = [(1, 5), (0, 23), (1, 2)]
PAIRS = [WrittenPair("development", "a", "b"), WrittenPair("held_out", "c", "d"), WrittenPair("held_out", "e", "f")]


def test_listed_neurons_are_those_of_the_whole_sweep(tiny):
    metric = LogitDifference(3, 7)
    whole = patch_neurons(tiny.raw, PROMPT_PAIRS, metric)
    some = patch_listed_neurons(tiny.raw, PROMPT_PAIRS, metric, NEURONS)
    expected = torch.stack([whole.patched[:, layer, index] for layer, index in NEURONS], dim=1)
    torch.testing.assert_close(some.patched, expected, atol=1e-5, rtol=1e-5)
    assert some.clean.tolist() == pytest.approx(whole.clean.tolist())


@pytest.mark.parametrize("neuron", [(2, 0), (0, 24), (-1, 0)])
def test_a_neuron_that_is_not_there_is_refused(tiny_gpt2, neuron):
    with pytest.raises(UserError, match=rf"There is no neuron {neuron[0]}\.{neuron[1]}; this model has 2 layers of 24"):
        patch_listed_neurons(tiny_gpt2.raw, PROMPT_PAIRS, LogitDifference(3, 7), [neuron])


def test_the_studied_neuron_comes_first_and_once():
    top = hdf5.Table(None, {"top_layer": np.array([1, 2]), "top_index": np.array([5, 7])}, {})
    assert candidates(top, 2, 7) == [(2, 7), (1, 5)]
    assert candidates(top, 0, 0) == [(0, 0), (1, 5), (2, 7)]


@pytest.fixture
def table(tmp_path):
    """Write a set whose clean prompts have 4 and whose corrupted ones have 0, but for the last: 2 and -2."""
    patched = np.array([[3.0, 1.0], [2.0, 3.0], [1.0, 0.0]], dtype=np.float32)
    clean, corrupted = np.array([4.0, 4.0, 2.0]), np.array([0.0, 0.0, -2.0])
    names = {"answer": " an", "foil": " a", "answer_id": 1, "foil_id": 2, "n_tests": 3}
    write_prompt_set(tmp_path / "set.h5", patched, (clean, corrupted), [(2, 7), (1, 5)], PAIRS, names)
    return hdf5.read(tmp_path / "set.h5")


def test_recovery_and_its_statistics_are_those_worked_out_by_hand(table):
    assert table["recovery"].tolist() == [[0.75, 0.25], [0.5, 0.75], [0.75, 0.5]]
    held_out = statistics(table, "held_out")
    assert held_out["mean"].tolist() == [0.625, 0.625]
    # Deviations of 0.125 to both sides: variance 0.03125 over n - 1, standard error sqrt(0.03125 / 2).
    assert held_out["standard_error"].tolist() == pytest.approx([0.125, 0.125])
    assert held_out["times_best"].tolist() == [1, 1]
    development = statistics(table, "development")
    assert development["times_best"].tolist() == [1, 0]
    assert np.isnan(development["standard_error"]).all()
    assert all(np.isnan(statistics(table, "no such part")[name]).all() for name in ("mean", "p", "low", "high"))


def test_what_is_known_of_a_recovery_is_that_worked_out_by_hand(table):
    held_out = statistics(table, "held_out")
    # Of the four ways to draw two prompt pairs, one has the lower value twice and one the higher one.
    assert held_out["low"].tolist() == [0.5, 0.5]
    assert held_out["high"].tolist() == [0.75, 0.75]
    # Both recoveries are above 0: of the four ways to choose signs, two are as one-sided. Three neurons were swept.
    assert held_out["p"].tolist() == [0.5, 0.5]
    assert held_out["p_corrected"].tolist() == [1, 1]
    # The one other neuron recovers as much: all ways to exchange give a difference of 0 or more.
    names = ("next_best_held_out", "next_best_mean_held_out", "next_best_p_held_out")
    assert [table.attributes[name] for name in names] == ["1.5", 0.625, 1.0]
    assert table.attributes["next_best_development"] == ""


def test_some_neurons_have_the_statistics_that_they_have_among_all(table):
    both, one = statistics(table, "held_out"), statistics(table, "held_out", [1])
    assert {name: values[1] for name, values in both.items()} == {name: values[0] for name, values in one.items()}


def test_tests_are_counted_by_all_neurons_of_the_swept_layers_and_the_studied_one():
    swept = hdf5.Table(None, {"layer": np.array([1, 2]), "recovery": np.zeros((2, 24))}, {})
    assert (n_tests(swept, 2), n_tests(swept, 7)) == (48, 72)


def test_tables_say_which_neuron_is_the_best_in_each_prompt_pair(table, tmp_path):
    write_pairs_csv(tmp_path / "pairs.csv", table)
    frame = pd.read_csv(tmp_path / "pairs.csv", dtype={"best": str})
    assert frame["best"].tolist() == ["2.7", "1.5", "2.7"]
    assert frame["recovery"].tolist() == [0.75, 0.5, 0.75]
    write_neurons_csv(tmp_path / "neurons.csv", table)
    frame = pd.read_csv(tmp_path / "neurons.csv")
    assert frame["mean_held_out"].tolist() == [0.625, 0.625]
    assert frame["prompt_pairs_development"].tolist() == [1, 1]
    assert frame["p_held_out"].tolist() == [0.5, 0.5]
    assert frame["low_development"].isna().all()


def test_a_small_p_keeps_its_digits_in_the_table(tmp_path):
    patched = np.linspace(1, 2, 27, dtype=np.float32)[:, None]
    ends = np.full(27, 4.0), np.zeros(27)
    pairs = [WrittenPair("held_out", str(number), "b") for number in range(27)]
    names = {"answer": " an", "foil": " a", "answer_id": 1, "foil_id": 2, "n_tests": 46080}
    write_prompt_set(tmp_path / "set.h5", patched, ends, [(2, 7)], pairs, names)
    write_neurons_csv(tmp_path / "neurons.csv", hdf5.read(tmp_path / "set.h5"))
    frame = pd.read_csv(tmp_path / "neurons.csv")
    assert frame["p_held_out"].tolist() == pytest.approx([2 / 2**27], rel=1e-3)
    assert frame["p_corrected_held_out"].tolist() == pytest.approx([46080 * 2 / 2**27], rel=1e-3)


def test_figure_has_a_point_for_each_prompt_pair_and_neuron(table):
    figure = prompt_set_fig(table)
    assert titles(figure)[1:] == ("Neuron", "Recovery")
    assert sum(len(trace.y) for trace in figure.data if trace.showlegend is None) == 6
    bars = [trace for trace in figure.data if trace.showlegend is False]
    held_out = next(bar for bar in bars if "held out" in bar.name)
    assert (held_out.y - held_out.error_y.arrayminus).tolist() == [0.5, 0.5]
    assert (held_out.y + held_out.error_y.array).tolist() == [0.75, 0.75]
    assert "their 95 % bootstrap intervals" in figure.layout.title.subtitle.text
    assert "2.7 has the largest recovery in 1 of 1 development and 1 of 2 held out" in figure.layout.title.subtitle.text
