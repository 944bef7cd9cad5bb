import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from book_pass import gathered

from an_neuron.corpus import choice
from an_neuron.corpus.associations import Association
from an_neuron.corpus.choice import ANSWER, CHOICE, FOIL, OTHER, describe_choice, next_tokens, write_choice
from an_neuron.corpus.choice_places import _numbers
from an_neuron.corpus.intervals import correlations, wilson_interval
from an_neuron.errors import UserError
from an_neuron.files import hdf5

ASSOCIATIONS = [Association("z", 26, 1, 20, "studied"), Association("b", 2, 0, 8, "listed")]
ANSWER_ID, FOIL_ID = 26, 15
ROWS = np.random.default_rng(5).integers(1, 35, (20, 30)).astype(np.int32)
ROWS[:, 0] = 0


@pytest.fixture(scope="module")
def book(tmp_path_factory, tiny_of):
    return gathered(tmp_path_factory.mktemp("book"), tiny_of("llama"), ROWS, ASSOCIATIONS, 2, foil=FOIL_ID)


@pytest.fixture(scope="module")
def values(book):
    table = hdf5.read(book)
    return {name: table[name] for name in ("expected", "logit_difference", "token_id")} | {
        "activation": table["activation"][0]
    }


@pytest.mark.parametrize("rows_at_once", [1, 2, 512])
def test_the_next_token_of_a_rows_last_is_the_next_rows_second(rows_at_once, monkeypatch):
    monkeypatch.setattr(choice, "ROWS_AT_ONCE", rows_at_once)
    rows = np.array([[0, 7, 8, 9], [0, 8, 9, 7], [0, 9, 9, 8]])
    row, pos = (places.ravel() for places in np.indices(rows.shape))
    following = [7, 8, 9, 8, 8, 9, 7, 9, 9, 9, 8, -1]
    assert next_tokens(rows, row, pos, np.array([True, True, False])).tolist() == following
    following[3] = -1  # where another document follows
    assert next_tokens(rows, row, pos, np.array([False, True, False])).tolist() == following
    some = [10, 3, 4]
    assert next_tokens(rows, row[some], pos[some], np.array([False, True, False])).tolist() == [8, -1, 8]


def test_only_rows_around_the_places_are_read(monkeypatch):
    monkeypatch.setattr(choice, "ROWS_AT_ONCE", 2)
    read = []

    class Tokens:
        shape, dtype = (10, 4), np.dtype(np.int32)

        def __getitem__(self, rows):
            read.append((rows.start, rows.stop))
            return np.arange(40, dtype=np.int32).reshape(10, 4)[rows]

    row, pos = np.array([1, 7, 7]), np.array([3, 0, 1])
    assert next_tokens(Tokens(), row, pos, np.arange(10) < 9).tolist() == [9, 29, 30]
    assert read == [(2, 4), (6, 8)]


def test_positions_are_those_where_one_of_both_is_expected(book, values):
    table, chosen = describe_choice(book), values["expected"] > 0.2
    assert 20 < chosen.sum() < chosen.size / 2
    assert table.attributes["n_positions"] == chosen.sum() == len(table["row"])
    assert table.attributes["n_rows"] == chosen.any(1).sum()
    for number, (row, pos) in enumerate(zip(table["row"], table["pos"], strict=True)):
        for name in ("activation", "logit_difference", "expected"):
            assert table[name][number] == values[name][row, pos]
        following = [*ROWS[row, pos + 1 :], *(ROWS[row + 1, 1:] if row < 19 else [])][:1]
        assert table["next"][number] == {(ANSWER_ID,): ANSWER, (FOIL_ID,): FOIL}.get(tuple(following), OTHER)
    names = ("token", "token_id", "foil", "foil_id", "layer", "index", "signed")
    assert [table.attributes[name] for name in names] == ["z", ANSWER_ID, "o", FOIL_ID, 1, 20, 1]


def test_bins_add_up_and_hold_their_positions(book):
    table = describe_choice(book)
    n = table.attributes["n_positions"]
    sign = -1 if table.attributes["direction"] == "below" else 1
    values, edges = sign * table["activation"].astype(float), sign * table["edge"]
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    assert (np.diff(edges) >= 0).all()
    assert table["count"].sum() == n
    assert table["count"] == pytest.approx(n * np.array([0.5, 0.25, 0.15, 0.05, 0.04, 0.01]), abs=1)
    p_answer = 1 / (1 + np.exp(-table["logit_difference"].astype(float)))
    assert (table["mean_p_answer"] * table["count"]).sum() == pytest.approx(p_answer.sum())
    for bin_number, (low, high) in enumerate(pairwise(edges)):
        inside = (values > low) & (values <= high) | ((bin_number == 0) & (values == low))
        assert table["count"][bin_number] == inside.sum()
        assert table["mean_p_answer"][bin_number] == pytest.approx(p_answer[inside].mean())
        assert table["answers"][bin_number] == (table["next"][inside] == ANSWER).sum()
        assert table["answers_or_foils"][bin_number] == (table["next"][inside] != OTHER).sum()
    low, high = wilson_interval(table["answers"], table["answers_or_foils"])
    assert table["share_low"] == pytest.approx(low, nan_ok=True)
    assert table["share_high"] == pytest.approx(high, nan_ok=True)


def test_correlations_are_of_activation_and_logit_difference(book):
    table = describe_choice(book)
    found = correlations(table["activation"], table["logit_difference"], table["row"])
    for name in ("pearson", "spearman"):
        assert table.attributes[name] == found[name].value
        assert table.attributes[f"{name}_low"] == found[name].low < found[name].high == table.attributes[f"{name}_high"]
    assert found["pearson"].value == pytest.approx(np.corrcoef(table["activation"], table["logit_difference"])[0, 1])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_signed_neuron_that_works_by_negative_activation_has_its_bins_turned(sign):
    """Of ten positions the answer follows where sign * activation is largest."""
    activation = sign * np.arange(-4.0, 6.0)
    positions = {
        "activation": activation,
        "logit_difference": np.where(sign * activation > 0, np.log(3), -np.log(3)),
        "next": np.where(sign * activation > 4, ANSWER, FOIL),
    }
    found = choice._bins(positions, sign)
    assert found["edge"][[0, 1, -1]].tolist() == [sign * -4, sign * 0.5, sign * 5]
    assert found["count"].tolist() == [5, 2, 2, 0, 0, 1]
    assert found["answers"].tolist() == [0, 0, 0, 0, 0, 1]
    assert found["answers_or_foils"].tolist() == found["count"].tolist()
    assert found["mean_p_answer"] == pytest.approx([0.25, 0.75, 0.75, np.nan, np.nan, 0.75], nan_ok=True)


def test_a_neuron_without_a_gate_is_never_turned(tmp_path, tiny_gpt2):
    table = describe_choice(gathered(tmp_path, tiny_gpt2, ROWS, ASSOCIATIONS, foil=FOIL_ID))
    assert (table.attributes["signed"], table.attributes["direction"]) == (0, "above")


@pytest.mark.parametrize("n_shards", [1, 3, 20])
def test_a_summary_says_the_same_of_the_choice(tmp_path, tiny_of, book, n_shards):
    kept = gathered(tmp_path, tiny_of("llama"), ROWS, ASSOCIATIONS, n_shards, "summary", foil=FOIL_ID)
    table, expected = describe_choice(kept), describe_choice(book)
    for name in CHOICE.fields:
        assert np.array_equal(table[name], expected[name], equal_nan=True)
    differing = {name for name in table.attributes if table.attributes[name] != expected.attributes[name]}
    assert differing == {"keep"}


@pytest.mark.parametrize("n_shards", [1, 3, 20])
def test_of_too_many_places_an_even_sample_is_held_whatever_the_shards(tmp_path, tiny_of, book, n_shards, monkeypatch):
    monkeypatch.setattr("an_neuron.corpus.choice_places.MOST_PLACES", 20)
    kept = gathered(tmp_path, tiny_of("llama"), ROWS, ASSOCIATIONS, n_shards, "summary", foil=FOIL_ID)
    table, every = describe_choice(kept), describe_choice(book)
    assert (table.attributes["n_held"], table.attributes["n_positions"]) == (20, every.attributes["n_positions"])
    places = [list(zip(one["row"].tolist(), one["pos"].tolist(), strict=True)) for one in (table, every)]
    chosen = np.argsort(_numbers(every["row"], every["pos"]))[:20]
    assert places[0] == sorted(places[1][number] for number in chosen)
    assert table["activation"].tolist() == [every["activation"][places[1].index(place)] for place in places[0]]
    assert table["count"].sum() == 20


def test_numbers_of_places_are_even_and_all_different():
    row, pos = (part.ravel() for part in np.indices((300, 100)))
    numbers = _numbers(row, pos)
    assert len(set(numbers.tolist())) == 30_000
    for part in (row < 30, pos < 10, (row + pos) % 10 == 0):
        assert (numbers[part] < 2**63).mean() == pytest.approx(0.5, abs=0.03)  # three standard deviations


def test_it_comes_back_as_it_was_written_and_with_the_same_bytes(tmp_path, book):
    for name in "ab":
        write_choice(tmp_path / f"{name}.h5", describe_choice(book), {"study": "tiny"})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    again, table = hdf5.read(tmp_path / "a.h5"), describe_choice(book)
    assert (again["next"] == table["next"]).all()
    assert again["edge"] == pytest.approx(table["edge"], abs=1e-5)
    assert again.attributes["pearson"] == table.attributes["pearson"]


def test_where_neither_is_expected_there_is_nothing(tmp_path, tiny_gpt2, monkeypatch):
    monkeypatch.setattr(choice, "LEAST_EXPECTED", 1.5)
    table = describe_choice(gathered(tmp_path, tiny_gpt2, ROWS, ASSOCIATIONS, foil=FOIL_ID))
    assert table.attributes["n_positions"] == table["count"].sum() == 0
    assert np.isnan(table.attributes["pearson"])
    write_choice(tmp_path / "choice.h5", table, {"study": "tiny"})


def test_a_pass_without_a_foil_is_refused(tmp_path, tiny_gpt2):
    with pytest.raises(UserError, match="does not compare answer and foil"):
        describe_choice(gathered(tmp_path, tiny_gpt2, ROWS, ASSOCIATIONS))


def test_describing_needs_no_torch():
    code = "import sys, an_neuron.corpus.choice; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
