import numpy as np
import pytest
import torch
from book_pass import gathered

from an_neuron.corpus.associations import Association
from an_neuron.corpus.batches import Batch
from an_neuron.corpus.corpus_pass import record
from an_neuron.corpus.neuron_files import NEURONS
from an_neuron.corpus.neuron_gathering import gather_neurons
from an_neuron.corpus.neuron_means import neuron_means
from an_neuron.corpus.neuron_statistics import N_BINS
from an_neuron.corpus.neuron_watch import NeuronWatch, Seen
from an_neuron.corpus.reader import Reader
from an_neuron.corpus.shards import watched_bytes
from an_neuron.errors import FullDiskError, UserError
from an_neuron.files import hdf5
from an_neuron.patching.engine import Engine
from an_neuron.patching.interventions import Mean
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.prompts.pairs import PromptPair

ASSOCIATIONS = [Association("g", 7, 1, 5, "studied")]
ROWS = np.random.default_rng(5).integers(1, 50, (11, 9)).astype(np.int32)
ORIGIN = {"study": "tiny"}


def neurons_of(folder, tiny, rows=ROWS, layers=(0, 1), n_shards=1, associations=ASSOCIATIONS, size=2):
    """Read rows in shards while every neuron is watched; return activations/neurons.h5."""
    path = gathered(folder, tiny, rows, associations, n_shards, size=size, layers=layers)
    gather_neurons(folder / "neurons.h5", sorted((path.parent / "shards").glob("*.h5")), ORIGIN)
    return hdf5.read(folder / "neurons.h5", NEURONS)


def test_statistics_of_a_model_worked_out_by_hand(tmp_path, micro):
    """Neuron 0 of the only layer is 1 at token 1 and 0 elsewhere, neuron 1 at token 2; BOS does not count."""
    rows, association = [[0, 1, 3], [0, 2, 1], [3, 3, 3]], Association("c", 3, 0, 0, "studied")
    table = neurons_of(tmp_path, micro, rows, [0], associations=[association])
    assert table["layer"].tolist() == [0]
    assert table.attributes["n_tokens"] == 6
    assert table["mean"][0, :2].tolist() == pytest.approx([2 / 6, 1 / 6])
    assert table["firing_rate"][0, :2].tolist() == pytest.approx([2 / 6, 1 / 6])
    assert table["standard_deviation"][0, :2] == pytest.approx([np.sqrt(2) / 3, np.sqrt(5) / 6])
    # The kurtosis of a share p of ones among zeros is 1 / (p (1 - p)) - 3.
    assert table["kurtosis"][0, :2] == pytest.approx([9 / 2 - 3, 36 / 5 - 3])
    assert table["maximum"][0, :2].tolist() == [1, 1]
    assert table["place_activation"][0, 0].tolist() == [1, 1, 0, 0, 0]
    assert (table["place_row"][0, 0, :2].tolist(), table["place_pos"][0, 0, :2].tolist()) == ([0, 1], [1, 2])


def test_statistics_are_those_of_what_the_down_projections_read(tmp_path, tiny):
    table = neurons_of(tmp_path, tiny)
    assert bool(table.attributes["signed"]) == (tiny.name not in ("gpt2", "gpt_neox"))
    for layer in (0, 1):
        inputs = tiny.inputs(tiny.module(layer, tiny.parts.down), ROWS.astype(np.int64))[:, 1:].double().numpy()
        assert table["mean"][layer] == pytest.approx(inputs.mean((0, 1)), rel=1e-5, abs=1e-6)
        assert table["standard_deviation"][layer] == pytest.approx(inputs.std((0, 1)), rel=1e-5, abs=1e-6)
        assert table["minimum"][layer] == pytest.approx(inputs.min((0, 1)), rel=1e-5, abs=1e-6)
        places = inputs[table["place_row"][layer], table["place_pos"][layer] - 1, np.arange(24)[:, None]]
        assert table["place_activation"][layer] == pytest.approx(places, rel=1e-5, abs=1e-6)
        assert places[:, 0] == pytest.approx(inputs.max((0, 1)), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("n_shards", [2, 3, 11])
def test_gathered_shards_equal_the_unsharded_pass(tmp_path, tiny_gpt2, n_shards):
    """Eleven shards cut batches of two rows apart."""
    whole = neurons_of(tmp_path / "whole", tiny_gpt2)
    parts = neurons_of(tmp_path / "parts", tiny_gpt2, n_shards=n_shards)
    rounded = ("mean", "standard_deviation", "kurtosis")
    for name in NEURONS.fields:
        if name in rounded:
            assert parts[name] == pytest.approx(whole[name], rel=1e-5, abs=1e-7)
        else:
            assert (parts[name] == whole[name]).all()


def test_what_else_is_recorded_stays_as_it_is_bit_for_bit(tiny_gpt2):
    reader = Reader(tiny_gpt2.raw, ASSOCIATIONS, "unembedding")
    plain, watched = (list(record(reader, ROWS, watch=one)) for one in (None, NeuronWatch(reader.decoder, [0, 1])))
    for one, other in zip(plain, watched, strict=True):
        assert (one.activation == other.activation).all()
        assert (one.margin == other.margin).all()


def test_a_device_out_of_memory_counts_no_token_twice(tmp_path, tiny_gpt2, monkeypatch, refusal):
    expected = neurons_of(tmp_path / "expected", tiny_gpt2, layers=[1])
    whole = Reader.read

    def small(self, ids):
        parts = whole(self, ids)  # the hooks have seen it all by then
        if len(ids) > 2:
            raise refusal
        return parts

    monkeypatch.setattr(Reader, "read", small)
    found = neurons_of(tmp_path / "found", tiny_gpt2, layers=[1], size=4)
    assert found.attributes["n_tokens"] == ROWS[:, 1:].size
    for name in ("firing_rate", "quantile", "place_row", "place_pos"):
        assert (found[name] == expected[name]).all()


def test_means_take_the_place_of_activations(tmp_path, tiny_gpt2):
    table = neurons_of(tmp_path, tiny_gpt2, layers=[1])
    means = neuron_means(tmp_path / "neurons.h5")
    assert list(means) == [(1, "post")]
    assert means[1, "post"].tolist() == table["mean"][0].tolist()
    engine, metric = Engine(tiny_gpt2.raw), LogitDifference(7, 8)
    pairs = [PromptPair([0, 3, 4, 5], [0, 3, 9, 5])]
    found = patch_neurons(engine, pairs, metric, [1], put=Mean(means)).recovery
    by_hand = Mean({(1, "post"): torch.tensor(table["mean"][0])})
    assert (found == patch_neurons(engine, pairs, metric, [1], put=by_hand).recovery).all()
    assert np.ptp(np.asarray(found)) > 0


def test_sums_of_a_device_without_float64_are_added_in_float64(tiny_gpt2):
    """2^24 + 1 is no float32."""
    watch = NeuronWatch(Reader(tiny_gpt2.raw, ASSOCIATIONS, "unembedding").decoder, [0])
    for row, power_sum in enumerate((2.0**24, 1.0)):
        counts, sums = np.ones((1, N_BINS), np.int64), np.full((1, 4), power_sum, np.float32)
        places = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int64)
        seen = Seen(counts, sums, np.zeros(1, np.float32), np.zeros(1, np.float32), *places)
        watch.add(Batch(row, row + 1, row, row + 1), 2, {0: seen})
    assert watch.statistics.power_sum.tolist() == [[[2**24 + 1] * 4]]


def test_damaged_weights_are_refused_with_the_neuron(tiny_gpt2):
    bridge = tiny_gpt2.load()
    reader = Reader(bridge, ASSOCIATIONS, "unembedding")
    with torch.no_grad():
        reader.decoder.model.transformer.h[0].mlp.c_fc.bias[3] = torch.nan
    with pytest.raises(UserError, match="Neuron 3 of layer 0 has an activation that is no finite number in rows 0 to"):
        list(record(reader, ROWS, size=2, watch=NeuronWatch(reader.decoder, [0])))


def test_layers_that_cannot_be_watched_are_refused(tiny_gpt2, monkeypatch):
    decoder = Reader(tiny_gpt2.raw, ASSOCIATIONS, "unembedding").decoder
    with pytest.raises(UserError, match="There is no layer 2; the model has layers 0 to 1"):
        NeuronWatch(decoder, [0, 2])
    monkeypatch.setattr(type(decoder), "n_items", lambda self, layer, site: 24 + layer)
    with pytest.raises(UserError, match="different numbers of neurons, 24 and 25, which do not fit into one table"):
        NeuronWatch(decoder, [0, 1])


def test_shards_that_did_not_watch_are_refused(tmp_path, tiny_gpt2):
    path = gathered(tmp_path, tiny_gpt2, ROWS, ASSOCIATIONS)
    with pytest.raises(UserError, match="did not watch neurons of the same layers"):
        gather_neurons(tmp_path / "neurons.h5", sorted((path.parent / "shards").glob("*.h5")), ORIGIN)


def test_room_is_asked_for_before_a_pass_and_before_its_statistics_are_gathered(tmp_path, tiny_gpt2, disk):
    """Of 2 layers of 24 neurons a shard holds 4 sums of 8 bytes, two extremes, and 5 places of three numbers each."""
    disk.free = 10**9
    path = gathered(tmp_path, tiny_gpt2, ROWS, ASSOCIATIONS, layers=(0, 1))
    shard = next((path.parent / "shards").glob("*.h5"))
    watch = NeuronWatch(Reader(tiny_gpt2.raw, ASSOCIATIONS, "unembedding").decoder, [0, 1])
    assert watched_bytes(watch) == 2 * 4 + 48 * (4 * 8 + 2 * 4 + 5 * 3 * 4)
    assert watched_bytes(None) == 0
    with hdf5.opened(shard) as file:
        fields = [name for name in file if name.startswith("neuron_") and name != "neuron_bin_count"]
        assert watched_bytes(watch) == sum(file[name].nbytes for name in fields)
    whole = NEURONS.n_bytes(layer=2, d_mlp=24, quantile=8, place=5)
    disk.free = whole - 1
    with pytest.raises(FullDiskError, match=r"neurons\.h5 needs 0\.0 MB, and its disk has 0\.0 MB"):
        gather_neurons(tmp_path / "neurons.h5", [shard], ORIGIN)
    disk.free += 1
    gather_neurons(tmp_path / "neurons.h5", [shard], ORIGIN)
    table = hdf5.read(tmp_path / "neurons.h5", NEURONS)
    assert whole == sum(values.nbytes for values in table.datasets.values())
