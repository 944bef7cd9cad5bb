import numpy as np
import pytest
from book_pass import gathered

from an_neuron.corpus.associations import Association, names_of
from an_neuron.corpus.description import describe_association, display_bins, write_association
from an_neuron.corpus.overview import associations_frame, write_associations_html
from an_neuron.corpus.recordings import read_association
from an_neuron.corpus.summaries import MARGIN_EDGES, N_BINS, OCTAVE_EDGES, Summary
from an_neuron.files import hdf5

ASSOCIATIONS = [Association("j", 10, 1, 5, "studied"), Association("c", 3, 0, 3, "listed")]
NAMES = ["token_j_neuron_1.5", "token_c_neuron_0.3"]
ROWS = np.random.default_rng(5).integers(1, 35, (20, 30)).astype(np.int32)  # ids that the tokenizer knows
ROWS[:, 0] = 0


@pytest.fixture(scope="module")
def book(tmp_path_factory, tiny_gpt2):
    return gathered(tmp_path_factory.mktemp("book"), tiny_gpt2, ROWS, ASSOCIATIONS)


@pytest.fixture(scope="module", params=NAMES)
def described(request, book, tiny_gpt2):
    return read_association(book, request.param), *describe_association(book, request.param, tiny_gpt2.tokenizer)


def counts_of(values, signed=False):
    summary = Summary(1, signed)
    activation, hit = (np.array([row]) for row in zip(*values, strict=True))
    summary.add(activation.astype(np.float32), np.where(hit, 1.0, -1.0), np.zeros(activation.shape, int), 0)
    return summary.count


def test_bars_are_of_equal_width_and_hold_their_upper_edge():
    edges, counts = display_bins(counts_of([(-1, 1), (0.1, 0), (0.25, 1), (0.26, 0), (8.0, 1), (7.8, 0)]))
    assert edges.tolist() == [0.25 * n for n in range(33)]
    assert counts.sum() == 5
    assert counts[[0, 1, 31]].tolist() == [[1, 1], [1, 0], [1, 1]]


def test_there_are_few_bars_where_values_are_small_and_one_where_none_is_positive():
    edges, counts = display_bins(counts_of([(2.0**-9, 1), (2.0**-7, 0)]))
    assert edges.tolist() == [0, 2.0**-8, 2.0**-7]
    assert counts.tolist() == [[0, 1], [1, 0]]
    edges, counts = display_bins(counts_of([(-1.0, 1), (0.0, 0)]))
    assert (edges.tolist(), counts.tolist()) == ([0, 2.0**-8], [[0, 0]])


def test_bars_of_signed_neurons_reach_to_both_sides():
    edges, counts = display_bins(counts_of([(-1, 1), (-0.9, 0), (0.25, 1), (0.0, 1), (3.0, 0)], True), True)
    assert edges.tolist() == [0.125 * n for n in range(-8, 25)]
    assert counts.sum() == 4, "0 is on no side"
    assert counts[[0, 9, 31]].tolist() == [[1, 1], [0, 1], [1, 0]]
    edges, counts = display_bins(counts_of([(-1, 1)], True), True)
    assert (edges[0], edges[-1], counts.sum()) == (-1, 0, 1)
    edges, counts = display_bins(counts_of([(0.0, 1)], True), True)
    assert (edges.tolist(), counts.tolist()) == ([0, 2.0**-8], [[0, 0]])


def test_values_beyond_all_bins_are_in_the_last_bar():
    edges, counts = display_bins(counts_of([(1e9, 1), (3.0, 0)]))
    assert edges[-1] == 2.0**16
    assert counts[-1].tolist() == [0, 1]
    assert counts.sum() == 2


def test_bars_count_every_positive_activation(described):
    association, table, _ = described
    positive, top = association["activation"] > 0, association["margin"] > 0
    assert table["bin_count"].sum(0).tolist() == [(positive & ~top).sum(), (positive & top).sum()]
    for low, high, (others, tops) in zip(table["bin_edge"], table["bin_edge"][1:], table["bin_count"], strict=False):
        inside = (association["activation"] > low) & (association["activation"] <= high)
        assert ((inside & ~top).sum(), (inside & top).sum()) == (others, tops)


def test_the_best_threshold_is_found_among_all(described):
    association, table, _ = described
    top, threshold = association["margin"] > 0, table.attributes["best_threshold"]
    assert top.any()
    above = association["activation"] > threshold
    assert table.attributes["best_precision"] == pytest.approx((above & top).sum() / above.sum())
    assert table.attributes["best_recall"] == pytest.approx((above & top).sum() / top.sum())
    scores = [
        2 * ((association["activation"] > t) & top).sum() / ((association["activation"] > t).sum() + top.sum())
        for t in [0, *association["activation"][association["activation"] > 0]]
    ]
    assert table.attributes["best_f1"] == pytest.approx(max(scores))
    assert table.attributes["thresholds"] == "every activation"


def test_contexts_are_the_texts_around_the_largest_activations(described, tiny_gpt2):
    association, table, _ = described
    largest = np.sort(association["activation"].ravel())[::-1][:20]
    assert table["example_activation"].tolist() == largest.tolist()
    assert table.attributes["largest"] == largest[0]
    text = tiny_gpt2.tokenizer.join
    for number, (row, pos) in enumerate(zip(table["example_row"], table["example_pos"], strict=True)):
        assert association["activation"][row, pos] == largest[number]
        assert association["margin"][row, pos] == table["example_margin"][number]
        own = ROWS[row].tolist()
        following = own[pos + 1 :] or (ROWS[row + 1, 1:].tolist() if row < 19 else [])
        assert table["example_before"][number] == text(own[max(0, pos - 24) : pos])
        assert table["example_token"][number] == text([own[pos]])
        assert table["example_after"][number] == text(following[:8])
        assert table["example_next"][number] == text(following[:1])
        assert table["example_prediction"][number] == text([int(association["top_prediction"][row, pos])])


def test_predictions_are_counted_by_octave(described, tiny_gpt2):
    association, _, predictions = described
    assert list(predictions) == ["activation_above", "activation_up_to", "prediction", "tokens", "share"]
    for (low, high), some in predictions.groupby(["activation_above", "activation_up_to"]):
        inside = (association["activation"] > low) & (association["activation"] <= high)
        ids = association["top_prediction"][inside].tolist()
        texts = [tiny_gpt2.tokenizer.text(token) for token in ids]
        assert len(some) <= 5
        assert some["tokens"].is_monotonic_decreasing
        for text, tokens, share in zip(some["prediction"], some["tokens"], some["share"], strict=True):
            assert share == pytest.approx(tokens / len(ids), abs=1e-6)
            if text:  # several ids beyond the tokenizer have none
                assert texts.count(text) == tokens
    assert set(predictions["activation_above"]) <= set(OCTAVE_EDGES)
    assert (predictions["activation_above"] >= 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_kept_summary_gives_the_same_but_for_the_thresholds(tmp_path, tiny_gpt2, book, name):
    kept = gathered(tmp_path, tiny_gpt2, ROWS, ASSOCIATIONS, keep="summary")
    exact, predictions = describe_association(book, name, tiny_gpt2.tokenizer)
    table, others = describe_association(kept, name, tiny_gpt2.tokenizer)
    assert predictions.equals(others)
    curve = {"threshold", "precision", "recall"}
    for key in set(exact.datasets) - curve:
        assert (exact[key] == table[key]).all(), key
    # The best of the bins' edges is at most as good as the best of all thresholds, and near it.
    assert exact.attributes["best_f1"] - 0.05 <= table.attributes["best_f1"] <= exact.attributes["best_f1"]
    assert table.attributes["thresholds"] == "bin edges"
    association = read_association(book, name)
    inside = association["activation"] > table["activation_edge"][0]
    assert table["density"].sum() == inside.sum() == (association["activation"] > 0).sum()
    top = table["margin_edge"][1:] > 0
    assert table["density"][:, top].sum() == (inside & (association["margin"] > 0)).sum()
    assert (np.diff(table["activation_edge"]) > 0).all()
    assert (np.diff(table["margin_edge"]) > 0).all()


def test_a_neuron_that_is_never_active_has_an_empty_density(tmp_path, micro):
    associations = [Association("c", 3, 0, 2, "studied")]
    kept = gathered(tmp_path, micro, [[0, 1], [0, 2]], associations, keep="summary")
    table, predictions = describe_association(kept, "token_c_neuron_0.2", micro.tokenizer)
    assert table["density"].tolist() == [[0]]
    assert table["threshold"].tolist() == [0]
    assert predictions.empty


def test_a_table_comes_back_as_it_was_written(tmp_path, described):
    _, table, _ = described
    write_association(tmp_path / "association.h5", table, {"study": "tiny"})
    again = hdf5.read(tmp_path / "association.h5")
    for key, values in table.datasets.items():
        if values.dtype == object:
            assert again[key].tolist() == [text.replace("\0", "\N{SYMBOL FOR NULL}") for text in values]
        else:
            assert again[key] == pytest.approx(values.astype(np.float32), nan_ok=True), key
    assert again["bin_count"].dtype == np.int64
    assert again.attributes["best_f1"] == table.attributes["best_f1"]


def test_associations_are_listed_with_what_was_measured(tmp_path, book, tiny_gpt2):
    tables = [describe_association(book, name, tiny_gpt2.tokenizer)[0] for name in NAMES]
    frame = associations_frame(ASSOCIATIONS, tables)
    assert frame["token"].tolist() == ["'j'", "'c'"]
    assert frame["source"].tolist() == ["studied", "listed"]
    assert frame["largest_activation"].tolist() == [round(table.attributes["largest"], 4) for table in tables]
    assert frame["best_f1"].tolist() == [round(table.attributes["best_f1"], 4) for table in tables]
    assert frame["occurrences"].tolist() == [(ROWS[:, 1:] == token).sum() for token in (10, 3)]
    write_associations_html(frame, tmp_path / "associations.html")
    page = (tmp_path / "associations.html").read_text(encoding="utf-8")
    assert "largest activation" in page
    assert "2 associations" in page
    write_associations_html(frame, tmp_path / "associations.html", "Two were passed over.")
    said = (tmp_path / "associations.html").read_text(encoding="utf-8")
    assert "as a predictor of the top prediction. Two were passed over.<" in said


def test_signed_associations_are_listed_with_their_direction(tmp_path, signed):
    tables = [table for _, table, _ in signed]
    frame = associations_frame(ON_BOTH_SIDES, tables)
    assert frame["direction"].tolist() == ["above", "below"]
    for (association, _, _), lowest, threshold in zip(
        signed, frame["lowest_activation"], frame["best_threshold"] * [1, -1], strict=True
    ):
        assert lowest == pytest.approx(association["activation"].min(), abs=1e-4)
        assert threshold > 0
    write_associations_html(frame, tmp_path / "associations.html")
    assert "(below: &quot;&lt;&quot;)" in (tmp_path / "associations.html").read_text(encoding="utf-8")


def test_unsigned_associations_have_no_direction(book, tiny_gpt2):
    tables = [describe_association(book, name, tiny_gpt2.tokenizer)[0] for name in NAMES]
    assert not {"direction", "lowest_activation"} & set(associations_frame(ASSOCIATIONS, tables))


def test_margins_above_zero_are_told_from_those_below():
    assert 0.0 in MARGIN_EDGES
    assert counts_of([(1.0, 1)]).shape == (N_BINS, len(MARGIN_EDGES) - 1)


# A token that this model often has on top, a neuron that says so where it is positive and one where it is negative.
ON_BOTH_SIDES = [Association("z", 26, 1, 20, "studied"), Association("z", 26, 0, 8, "listed")]


@pytest.fixture(scope="module", params=["all", "summary"])
def signed(request, tmp_path_factory, tiny_of):
    """A gated model's book, kept whole, and what is described of it as it was kept."""
    tiny, folder = tiny_of("llama"), tmp_path_factory.mktemp("signed")
    path = gathered(folder / "all", tiny, ROWS, ON_BOTH_SIDES)
    kept = path if request.param == "all" else gathered(folder / "kept", tiny, ROWS, ON_BOTH_SIDES, 3, "summary")
    names = names_of(ON_BOTH_SIDES)
    return [(read_association(path, name), *describe_association(kept, name, tiny.tokenizer)) for name in names]


def test_signed_neurons_are_described_on_both_sides(signed):
    for association, table, predictions in signed:
        activation, top = association["activation"], association["margin"] > 0
        assert association.attributes["signed"] == table.attributes["signed"] == 1
        assert table["bin_count"].sum(0).tolist() == [(~top).sum(), top.sum()]
        for low, high, counts in zip(table["bin_edge"], table["bin_edge"][1:], table["bin_count"], strict=False):
            inside = (
                (activation > low) & (activation <= high) if low >= 0 else (activation >= low) & (activation < high)
            )
            assert ((inside & ~top).sum(), (inside & top).sum()) == tuple(counts)
        values = np.sort(activation.ravel())
        assert table["example_activation"].tolist() == [*values[::-1][:20], *values[:20]]
        assert table["example_end"].tolist() == ["highest"] * 20 + ["lowest"] * 20
        assert predictions["tokens"].sum() <= ROWS.size
        for (low, high), octave in predictions.groupby(["activation_above", "activation_up_to"]):
            assert low < high
            outer, inner = (abs(activation) <= max(-low, high)), (abs(activation) > min(abs(low), abs(high)))
            total = (outer & inner & (np.sign(activation) == (1 if low >= 0 else -1))).sum()
            assert octave["share"].to_numpy() == pytest.approx(octave["tokens"].to_numpy() / total, abs=1e-6)
        if "density" in table.datasets:
            assert table["density"].sum() == ROWS.size
            negative = table["activation_edge"][1:] <= 0
            assert table["density"][negative].sum() == (activation < 0).sum()


def test_the_best_threshold_of_signed_neurons_is_found_on_both_sides(signed):
    assert [table.attributes["direction"] for _, table, _ in signed] == ["above", "below"]
    for association, table, _ in signed:
        activation, top, best = association["activation"], association["margin"] > 0, table.attributes["best_threshold"]
        directed = {"above": activation > best, "below": activation < best}[table.attributes["direction"]]
        assert table.attributes["best_precision"] == pytest.approx((directed & top).sum() / directed.sum())
        assert table.attributes["best_recall"] == pytest.approx((directed & top).sum() / top.sum())
        scores = [
            2 * ((sign * activation > t) & top).sum() / ((sign * activation > t).sum() + top.sum())
            for sign in (1, -1)
            for t in [0, *(sign * activation[sign * activation > 0])]
        ]
        tolerance = 0.05 if table.attributes["keep"] == "summary" else 1e-9
        assert table.attributes["best_f1"] == pytest.approx(max(scores), abs=tolerance)


def test_unsigned_neurons_have_one_side_and_one_end(described):
    _, table, _ = described
    assert (table.attributes["signed"], table.attributes["direction"]) == (0, "above")
    assert "example_end" not in table.datasets
