import numpy as np
import pytest

from an_neuron.corpus.summaries import (
    ACTIVATION_EDGES,
    FIRST_TOP,
    MARGIN_EDGES,
    N_EXAMPLES,
    OCTAVE_EDGES,
    STEPS,
    Summary,
    above,
    below,
    bins,
    sided_bins,
)

D_VOCAB = 11


def random_rows(seed, n_rows, n_ctx=13):
    generator = np.random.default_rng(seed)
    # Rounded, so that there are equal activations.
    activation = generator.normal(0, 2, (n_rows, n_ctx)).round(1).astype(np.float32)
    margin = generator.normal(-1, 3, (n_rows, n_ctx)).astype(np.float32)
    return activation, margin, generator.integers(0, D_VOCAB, (n_rows, n_ctx))


def summary_of(*columns, cuts=(), signed=False):
    """Return the summary of rows that come in parts."""
    summary, start = Summary(D_VOCAB, signed), 0
    for parts in zip(*(np.split(column, list(cuts)) for column in columns), strict=True):
        summary.add(*parts, start)
        start += len(parts[0])
    return summary


def content(summary):
    return [summary.count, summary.prediction_count, *summary.places.parts(), *summary.lowest.parts()]


def test_a_bin_holds_its_upper_edge():
    edges = np.array([-np.inf, 0.0, 1.0, 2.0, np.inf])
    assert bins(np.array([-3, 0, 1e-9, 1, 1.5, 2, 2.1]), edges).tolist() == [0, 0, 1, 1, 2, 2, 3]


def test_edges_are_exact_in_float32_and_ascend():
    for edges in (ACTIVATION_EDGES, OCTAVE_EDGES, MARGIN_EDGES):
        assert (edges.astype(np.float32) == edges).all()
        assert (np.diff(edges[1:-1]) > 0).all()
    assert set(OCTAVE_EDGES) <= set(ACTIVATION_EDGES)
    assert MARGIN_EDGES[FIRST_TOP] == 0
    inside = ACTIVATION_EDGES[2:-1]
    assert (np.diff(inside) <= inside[1:] / STEPS).all()  # no wider than 3 % of the value


def test_counts_are_worked_out_by_hand():
    activation = np.array([[-1.0, 0.0, 0.5], [0.51, 300.0, 1e6]], dtype=np.float32)
    margin = np.array([[1.0, -1.0, 0.0], [1e-9, 2.0, -1e9]], dtype=np.float32)
    summary = summary_of(activation, margin, np.array([[1, 2, 3], [3, 3, 4]]))
    assert summary.count.sum() == 6
    assert summary.count[:, FIRST_TOP:].sum() == 3  # a margin of 0 is no top prediction
    assert summary.count[0].sum() == 2
    assert summary.count[-1].sum() == 1
    by_activation = dict(zip(ACTIVATION_EDGES[1:], summary.count.sum(1), strict=True))
    assert by_activation[0.5] == 1
    assert by_activation[0.5 + 0.5 / STEPS] == 1
    octave = OCTAVE_EDGES.tolist()
    assert summary.prediction_count[octave.index(0.25), 3] == 1  # 0.5 is in (0.25, 0.5]
    assert summary.prediction_count[octave.index(256.0), 3] == 1
    assert summary.prediction_count.sum(1)[[0, -1]].tolist() == [2, 1]
    places = summary.places
    assert places.activation.tolist() == sorted(activation.ravel().tolist(), reverse=True)
    assert list(zip(places.row.tolist(), places.pos.tolist(), strict=True))[:3] == [(1, 2), (1, 1), (1, 0)]
    assert places.top_prediction.tolist()[:3] == [4, 3, 3]


def test_places_are_the_most_activating_and_of_equal_ones_the_first():
    columns = random_rows(0, 40)
    places = summary_of(*columns).places
    order = sorted(np.ndindex(columns[0].shape), key=lambda place: (-columns[0][place], *place))[:N_EXAMPLES]
    assert list(zip(places.row.tolist(), places.pos.tolist(), strict=True)) == order
    assert places.activation.tolist() == [columns[0][place] for place in order]
    assert places.margin.tolist() == [columns[1][place] for place in order]
    assert places.top_prediction.tolist() == [columns[2][place] for place in order]
    assert len(set(columns[0].ravel())) < columns[0].size  # there are equal ones


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("cuts", [[1], [20], [3, 4, 30], list(range(1, 40))])
def test_parts_add_up_to_exactly_the_whole(cuts, signed):
    columns = random_rows(1, 40)
    whole = content(summary_of(*columns, signed=signed))
    for part, expected in zip(content(summary_of(*columns, cuts=cuts, signed=signed)), whole, strict=True):
        assert (part == expected).all()
    merged, start = Summary(D_VOCAB, signed), 0
    for parts in zip(*(np.split(column, cuts) for column in columns), strict=True):
        other = Summary(D_VOCAB, signed)
        other.add(*parts, start)
        merged.merge(other)
        start += len(parts[0])
    for part, expected in zip(content(merged), whole, strict=True):
        assert (part == expected).all()


def test_memory_does_not_grow_with_the_corpus():
    small, large = (sum(part.nbytes for part in content(summary_of(*random_rows(2, n)))) for n in (40, 4000))
    assert small == large


def test_bins_of_signed_neurons_are_mirrored_and_hold_the_outer_edge():
    edges = np.array([-np.inf, 0.0, 1.0, 2.0, np.inf])
    values = np.array([-2.1, -2, -1.5, -1, -1e-9, 0, 1e-9, 1, 1.5, 2, 2.1])
    assert sided_bins(values, edges, True).tolist() == [0, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6]
    assert sided_bins(values, edges, False).tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3]
    count = np.arange(7)
    assert (above(count, edges).tolist(), below(count, edges).tolist()) == ([4, 5, 6], [2, 1, 0])


def test_a_signed_summary_of_the_negative_is_the_mirror_image():
    activation, *rest = random_rows(3, 40)
    summary, mirrored = (summary_of(sign * activation, *rest, signed=True) for sign in (1, -1))
    assert (summary.count == mirrored.count[::-1]).all()
    assert (summary.prediction_count == mirrored.prediction_count[::-1]).all()
    assert summary.lowest.activation.tolist() == (-mirrored.places.activation).tolist()
    for column in ("margin", "row", "pos", "top_prediction"):
        assert (getattr(summary.lowest, column) == getattr(mirrored.places, column)).all()


def test_a_signed_summary_holds_what_an_unsigned_one_does_and_the_other_side():
    columns = random_rows(4, 40)
    signed, unsigned = (summary_of(*columns, signed=signed) for signed in (True, False))
    assert (above(signed.count, ACTIVATION_EDGES) == unsigned.count[1:]).all()
    assert (above(signed.prediction_count, OCTAVE_EDGES) == unsigned.prediction_count[1:]).all()
    assert all((a == b).all() for a, b in zip(signed.places.parts(), unsigned.places.parts(), strict=True))
    assert not len(unsigned.lowest.row)
    assert below(signed.count, ACTIVATION_EDGES).sum() == (columns[0] < 0).sum()
    assert signed.count.sum() == unsigned.count.sum() == columns[0].size
    assert signed.lowest.activation.tolist() == np.sort(columns[0].ravel())[:N_EXAMPLES].tolist()
