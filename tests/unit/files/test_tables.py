import h5py
import numpy as np
import pytest
import torch

from an_neuron import tables
from an_neuron.congruence.ranking import neuron_congruence, rank_congruence
from an_neuron.errors import UserError
from an_neuron.files import old_hdf5 as hdf5
from an_neuron.files.old_hdf5 import Dataset
from an_neuron.prompts.lens import LogitLens
from an_neuron.prompts.predictions import predict
from an_neuron.version import __version__

ORIGIN = {"study": "letters", "model": "micro", "revision": "local folder", "dtype": "float32"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "table.h5"


def numbers():
    return {
        "score": Dataset(np.arange(6, dtype=float).reshape(2, 3) / 3, ("row", "pos"), "logits", "thirds"),
        "id": Dataset(torch.tensor([[1], [70000]]), ("row", "one"), "token id"),
        "sure": Dataset([True, False], ("row",)),
        "text": Dataset([" an", "ü\0🙂"], ("row",)),
    }


def write_twice(tmp_path, write):
    first, second = tmp_path / "one" / "table.h5", tmp_path / "two" / "table.h5"
    write(first)
    write(second)
    return first.read_bytes(), second.read_bytes()


def test_values_come_back_as_float32_int32_bool_and_text(path):
    hdf5.write(path, numbers(), {**ORIGIN, "layer": 31})
    table = hdf5.read(path)
    assert table["score"].dtype == np.float32
    assert (table["score"] == np.float32([[0, 1 / 3, 2 / 3], [1, 4 / 3, 5 / 3]])).all()
    assert (table["id"].dtype, table["id"].tolist()) == (np.int32, [[1], [70000]])
    assert table["sure"].tolist() == [True, False]
    assert {**table.attributes} == {**ORIGIN, "layer": 31, "version": __version__}


def test_nul_in_a_text_becomes_its_symbol(path):
    hdf5.write(path, numbers(), {})
    assert hdf5.read(path)["text"].tolist() == [" an", "ü␀🙂"]


def test_texts_keep_their_axes(path):
    hdf5.write(path, {"text": Dataset(np.array([["a", "b", "c"], ["d", "e", "f"]]), ("row", "pos"))}, {})
    assert hdf5.read(path)["text"].tolist() == [["a", "b", "c"], ["d", "e", "f"]]
    hdf5.write(path, {"text": Dataset(np.empty((0, 2), dtype=object), ("row", "pos"))}, {})
    assert hdf5.read(path)["text"].shape == (0, 2)


def test_each_dataset_says_its_axes_unit_and_meaning(path):
    hdf5.write(path, numbers(), {})
    with h5py.File(path) as file:
        assert dict(file["score"].attrs) == {"dims": "row pos", "unit": "logits", "description": "thirds"}
        assert list(file) == ["score", "id", "sure", "text"], "in the order of writing"


def test_axes_that_do_not_fit_are_refused(path):
    with pytest.raises(ValueError, match="score: 2 axes"):
        hdf5.write(path, {"score": Dataset(np.zeros((2, 2)), ("row",))}, {})
    assert not list(path.parent.iterdir())


def test_integers_that_do_not_fit_are_refused(path):
    with pytest.raises(ValueError, match=f"{2**31} or -5 does not fit into int32"):
        hdf5.write(path, {"id": Dataset([-5, 2**31], ("row",))}, {})
    hdf5.write(path, {"id": Dataset([-(2**31), 2**31 - 1], ("row",))}, {})
    assert hdf5.read(path)["id"].tolist() == [-(2**31), 2**31 - 1]


def test_the_same_values_give_the_same_bytes(tmp_path):
    first, second = write_twice(tmp_path, lambda path: hdf5.write(path, numbers(), ORIGIN))
    assert first == second


def test_no_dataset_holds_a_time(path, micro):
    def times():
        with h5py.File(path) as file:
            return {h5py.h5g.get_objinfo(dataset.id).mtime for dataset in file.values()}

    hdf5.write(path, numbers(), ORIGIN)
    assert times() == {0}


def test_a_failure_leaves_nothing_under_the_name(path):
    def fail():
        with hdf5.create(path, ORIGIN) as file:
            hdf5.add(file, "id", Dataset([1], ("row",)))
            assert not path.exists()
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        fail()
    assert not list(path.parent.iterdir())


def test_a_failure_leaves_the_old_file(path):
    hdf5.write(path, numbers(), ORIGIN)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="axes"):
        hdf5.write(path, {"score": Dataset(1.0, ("row",))}, ORIGIN)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_is_named(path):
    with pytest.raises(UserError, match=f"{path} cannot be read"):
        hdf5.read(path)


@pytest.mark.parametrize("kept", [0, 100, 1000, -1])
def test_a_file_cut_short_is_named(path, kept):
    hdf5.write(path, numbers(), ORIGIN)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=f"{path} is damaged"):
        hdf5.read(path)


def test_a_flipped_bit_anywhere_is_noticed(path):
    hdf5.write(path, numbers(), ORIGIN)
    content = path.read_bytes()
    for place in range(0, len(content), 13):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        with pytest.raises(UserError, match=f"{path} is damaged"):
            hdf5.read(path)


def test_bytes_behind_a_file_are_noticed(path):
    hdf5.write(path, numbers(), ORIGIN)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UserError, match=f"{path} is damaged"):
        hdf5.read(path)


def test_h5py_reads_a_sealed_file_as_it_is(path):
    hdf5.write(path, numbers(), ORIGIN)
    with h5py.File(path) as file:
        assert file.attrs["study"] == ORIGIN["study"]
        assert file["sure"][:].tolist() == [True, False]


def test_what_a_killed_job_left_is_cleared_away(path):
    path.parent.mkdir(exist_ok=True)
    stale = path.with_name(f".{path.name}.99999999.tmp")
    others = path.with_name(f".{path.name}x.99999999.tmp")
    for left in (stale, others):
        left.write_text("half")
    hdf5.write(path, numbers(), ORIGIN)
    assert not stale.exists()
    assert others.exists()


def test_a_missing_dataset_is_named(path):
    hdf5.write(path, numbers(), ORIGIN)
    with pytest.raises(UserError, match=f"{path} holds no dataset 'gone'"):
        _ = hdf5.read(path)["gone"]


def test_prompts_are_named_in_the_order_of_prediction():
    assert tables.prompt_names(1, 2) == ["clean", "corrupted", "further 0", "further 1"]
    assert tables.prompt_names(2, 0) == ["clean 0", "corrupted 0", "clean 1", "corrupted 1"]


def test_predictions_are_stored_with_their_texts(path, micro):
    prompts = [[0, 1], [0, 2]]
    predictions = [predict(micro.raw, ids, 3, 4, 2) for ids in prompts]
    tables.write_predictions(path, predictions, prompts, ["clean", "corrupted"], micro.tokenizer, ORIGIN)
    table = hdf5.read(path)
    assert (table["text"].tolist(), table["length"].tolist()) == (["a", "b"], [2, 2])
    assert table["top_token"][:, 0].tolist() == ["c", "d"]
    assert table["top_logit"][:, 0].tolist() == pytest.approx([39, 5])
    assert table["logit"].ravel().tolist() == pytest.approx([39, 0, -24, 5], abs=1e-5)
    assert table["rank"].tolist() == [[0, 1], [4, 0]]
    assert table["logit_difference"].tolist() == pytest.approx([39, -29])
    frame = tables.predictions_frame(table)
    assert frame["prompt"].tolist() == ["clean", "clean", "corrupted", "corrupted"]
    assert frame["rank"].tolist() == [0, 1, 0, 1]
    assert frame["token"][[0, 2]].tolist() == ["'c'", "'d'"]
    assert frame["answer_rank"].tolist() == [0, 0, 4, 4]
    assert frame["logit_difference"].tolist() == pytest.approx([39, 39, -29, -29], abs=1e-4)


def test_the_lens_is_stored_with_its_mean(path):
    lenses = [LogitLens(["0_pre", "final_post"], [0.0, 1.0], torch.tensor([value, 4.0]), 0.5, 4.5) for value in (1, 2)]
    tables.write_lens(path, lenses, ORIGIN)
    table = hdf5.read(path)
    assert table["point_label"].tolist() == ["0_pre", "final_post"]
    assert table["logit_difference"].tolist() == [[1, 4], [2, 4]]
    assert table["mean_logit_difference"].tolist() == [1.5, 4]
    assert (table["bias"].tolist(), table["model_logit_difference"].tolist()) == ([0.5, 0.5], [4.5, 4.5])


def test_alignments_are_stored_beside_their_tokens(tmp_path, micro):
    vocabulary = micro.tokenizer.vocabulary(5)
    tables.write_neuron_congruence(tmp_path / "neuron.h5", neuron_congruence(micro.raw, 0, 1), vocabulary, ORIGIN)
    tables.write_top_neurons(tmp_path / "top.h5", rank_congruence(micro.raw)[0], vocabulary, ORIGIN)
    neuron, top = hdf5.read(tmp_path / "neuron.h5"), hdf5.read(tmp_path / "top.h5")
    assert dict(zip(neuron["token"], neuron["W_out_dot_W_U"].tolist(), strict=True))["c"] == -90
    assert neuron["W_out_dot_W_E"].tolist() == [-8, -24, 0, -16, 0]
    assert neuron["W_in_dot_W_E"].tolist() == [0, 0, 1, 0, -1]
    assert top["value"].tolist() == [[16, 0], [0, 0], [4, 0], [32, 0], [0, 0]]
    assert top["index"][[0, 2, 3], 0].tolist() == [0, 2, 0]
    assert top["layer"].tolist() == [[0, 0]] * 5


def test_the_best_tokens_are_stored_by_layer_and_neuron(path, micro):
    tables.write_top_tokens(path, rank_congruence(micro.raw)[1], ORIGIN)
    table = hdf5.read(path)
    assert table["value"].tolist() == [[[32, 16], [0, 0], [4, 0]]]
    assert table["token"].tolist() == [[[3, 0], [2, 4], [2, 0]]]
    assert (table["value"].dtype, table["token"].dtype) == (np.float32, np.int32)
    assert table.attributes["study"] == "letters"
    with h5py.File(path) as file:
        assert {dataset.attrs["dims"] for dataset in file.values()} == {"layer d_mlp k"}
