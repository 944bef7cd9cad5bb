import numpy as np
import pytest
import torch

from an_neuron.corpus.neuron_statistics import (
    COLUMNS,
    EDGES,
    MIDDLES,
    N_PLACES,
    QUANTILES,
    STEPS,
    ZERO_BIN,
    NeuronStatistics,
)
from an_neuron.corpus.neuron_watch import _seen, bins, chosen_layers
from an_neuron.corpus.summaries import sided_bins


def statistics_of(activation, first_row=0):
    """Return the statistics of activations, [row, pos, neuron] without BOS, of one layer."""
    activation = np.asarray(activation, dtype=np.float32)
    seen = _seen(torch.from_numpy(activation))
    columns = {name: getattr(seen, name).numpy()[None] for name in seen._fields}
    row, pos = np.divmod(columns.pop("place"), activation.shape[1])
    return NeuronStatistics(**columns, row=row + first_row, pos=pos + 1)


def test_a_floats_bits_tell_its_bin():
    values = np.concatenate(
        [EDGES[1:-1], np.nextafter(EDGES[1:-1], 9, dtype=np.float32), [1e-40, 3e38, 0.3, 7.7, 1e-3]]
    )
    values = np.concatenate([values, -values]).astype(np.float32)
    assert (bins(torch.from_numpy(values)).numpy() == sided_bins(values, EDGES, True)).all()


def test_statistics_are_worked_out_by_hand():
    """The activations -1, 0, 0 and 5: mean 1, deviations -2, -1, -1 and 4, variance 22 / 4, fourth moment 274 / 4."""
    statistics = statistics_of([[[0.0], [-1.0]], [[5.0], [0.0]]])
    assert statistics.n_tokens == 4
    assert statistics.bin_count[0, 0, ZERO_BIN] == 2
    assert statistics.power_sum[0, 0].tolist() == [4, 26, 124, 626]
    described = {name: values[0, 0] for name, values in statistics.described(signed=False).items()}
    assert (described["mean"], described["minimum"], described["maximum"]) == (1, -1, 5)
    assert described["standard_deviation"] == pytest.approx(np.sqrt(5.5))
    assert described["kurtosis"] == pytest.approx(274 / 4 / 5.5**2)
    assert described["firing_rate"] == 0.25, "5 alone is above 0"
    assert statistics.described(signed=True)["firing_rate"][0, 0] == 0.5, "-1 is farther from 0 than half of 1"
    # Of four values the first is the lowest up to a quarter, and 0 the next up to three quarters.
    assert dict(zip(QUANTILES, described["quantile"], strict=True)) == {
        0.01: -0.96875, 0.05: -0.96875, 0.25: -0.96875, 0.5: 0, 0.75: 0, 0.95: 4.75, 0.99: 4.75, 0.999: 4.75,
    }  # fmt: skip
    assert statistics.activation[0, 0].tolist() == [5, 0, 0, -1]
    assert list(zip(statistics.row[0, 0].tolist(), statistics.pos[0, 0].tolist(), strict=True)) == [
        (1, 1), (0, 1), (1, 2), (0, 2),
    ]  # fmt: skip


def test_a_quantile_is_within_what_is_said_of_it():
    values = np.concatenate([np.linspace(0, 2**-8, 99), np.geomspace(2**-8, 2**16, 20_000)]).astype(np.float32)
    found = MIDDLES[bins(torch.from_numpy(values)).numpy()]
    beyond = values > 2**-8
    assert (np.abs(found - values)[beyond] / values[beyond]).max() == pytest.approx(0.0625, abs=1e-3)
    assert np.abs(found - values)[~beyond].max() == pytest.approx(2**-9, abs=1e-4)


def test_a_constant_neuron_has_no_kurtosis():
    described = statistics_of(np.full((2, 3, 1), 0.1)).described(signed=True)
    assert described["standard_deviation"][0, 0] == pytest.approx(0, abs=1e-8)
    assert np.isnan(statistics_of(np.zeros((2, 3, 1))).described(signed=True)["kurtosis"]).all()
    assert statistics_of(np.zeros((2, 3, 1))).described(signed=True)["firing_rate"] == 0


@pytest.mark.parametrize("n_pos", [1, 3, 40, 150])
def test_statistics_are_those_of_all_activations(n_pos, monkeypatch):
    """Activations are rounded, so that there are equal ones."""
    monkeypatch.setattr("an_neuron.corpus.neuron_watch.VALUES_AT_ONCE", 400)
    values = np.random.default_rng(n_pos).standard_t(4, (6, n_pos, 7)).round(1).astype(np.float32)
    statistics, flat = statistics_of(values), values.reshape(-1, 7).astype(float)
    described = statistics.described(signed=True)
    assert described["mean"][0] == pytest.approx(flat.mean(0), abs=1e-12)
    assert described["standard_deviation"][0] == pytest.approx(flat.std(0))
    central = flat - flat.mean(0)
    assert described["kurtosis"][0] == pytest.approx((central**4).mean(0) / flat.var(0) ** 2)
    for number in range(7):
        counts = np.bincount(sided_bins(flat[:, number], EDGES, True), minlength=len(statistics.bin_count[0, 0]))
        assert (statistics.bin_count[0, number] == counts).all()
        order = np.argsort(-flat[:, number], kind="stable")[:N_PLACES]
        assert (statistics.row[0, number] * n_pos + statistics.pos[0, number] - 1 == order).all()
        assert (statistics.activation[0, number] == flat[order, number]).all()
    exact = np.quantile(flat, QUANTILES, axis=0, method="inverted_cdf").T
    assert described["quantile"][0] == pytest.approx(exact, rel=0.5 / STEPS, abs=2.0**-9)


@pytest.mark.parametrize("cuts", [[1], [3], [1, 2, 3, 4, 5]])
def test_parts_add_up_to_the_whole(cuts):
    values = np.random.default_rng(1).normal(0, 2, (6, 30, 5)).round(1).astype(np.float32)
    whole, start = statistics_of(values), 0
    parts = []
    for part in np.split(values, cuts):
        parts.append(statistics_of(part, start))
        start += len(part)
    merged, *others = parts
    for other in others:
        merged.merge(other)
    for name in COLUMNS:
        found, expected = getattr(merged, name), getattr(whole, name)
        if name == "power_sum":
            assert found == pytest.approx(expected, rel=1e-13, abs=1e-10)
        else:
            assert (found == expected).all()


def test_layers_are_chosen_as_the_configuration_says():
    assert chosen_layers("all", 3) == [0, 1, 2]
    assert chosen_layers("none", 3) == []
    assert chosen_layers([2, 0], 3) == [0, 2]
