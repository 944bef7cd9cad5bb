from contextlib import ExitStack
from hashlib import sha256

import h5py
import numpy as np
import pytest
import torch

from an_neuron.errors import UserError
from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.files.version import __version__

ORIGIN = {"study": "letters", "model": "micro", "revision": "local folder", "dtype": "float32"}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "table.h5"


def schema(**fields):
    return Schema("numbers.h5", "what there is to store", {name: Field(*field) for name, field in fields.items()})


NUMBERS = schema(
    score=("row pos", "float32", "logits", "thirds"),
    id=("row one", "int32", "token id", ""),
    sure=("row", "bool", "", ""),
    text=("row", "text", "", ""),
)
IDS = schema(id=("row", "int32", "", ""))
TEXTS = schema(text=("row pos", "text", "", ""))
SCORES = schema(score=("row", "float32", "", ""), other=("row", "float32", "", "", True))


def numbers():
    return {
        "score": np.arange(6, dtype=float).reshape(2, 3) / 3,
        "id": torch.tensor([[1], [70000]]),
        "sure": [True, False],
        "text": [" an", "ü\0🙂"],
    }


def write_twice(tmp_path, write):
    first, second = tmp_path / "one" / "table.h5", tmp_path / "two" / "table.h5"
    write(first)
    write(second)
    return first.read_bytes(), second.read_bytes()


def test_values_come_back_as_float32_int32_bool_and_text(path):
    hdf5.write(path, NUMBERS, numbers(), {**ORIGIN, "layer": 31})
    table = hdf5.read(path)
    assert table["score"].dtype == np.float32
    assert (table["score"] == np.float32([[0, 1 / 3, 2 / 3], [1, 4 / 3, 5 / 3]])).all()
    assert (table["id"].dtype, table["id"].tolist()) == (np.int32, [[1], [70000]])
    assert table["sure"].tolist() == [True, False]
    assert {**table.attributes} == {**ORIGIN, "layer": 31, "version": __version__}


def test_nul_in_a_text_becomes_its_symbol(path):
    hdf5.write(path, NUMBERS, numbers(), {})
    assert hdf5.read(path)["text"].tolist() == [" an", "ü␀🙂"]


def test_texts_keep_their_axes(path):
    hdf5.write(path, TEXTS, {"text": np.array([["a", "b", "c"], ["d", "e", "f"]])}, {})
    assert hdf5.read(path)["text"].tolist() == [["a", "b", "c"], ["d", "e", "f"]]
    hdf5.write(path, TEXTS, {"text": np.empty((0, 2), dtype=object)}, {})
    assert hdf5.read(path)["text"].shape == (0, 2)


def test_each_dataset_says_its_axes_unit_and_meaning(path):
    hdf5.write(path, NUMBERS, numbers(), {})
    with h5py.File(path) as file:
        assert dict(file["score"].attrs) == {"dims": "row pos", "unit": "logits", "description": "thirds"}
        assert list(file) == ["score", "id", "sure", "text"], "in the order of writing"


def test_axes_that_do_not_fit_are_refused(path):
    with pytest.raises(ValueError, match="score has 2 axes"):
        hdf5.write(path, SCORES, {"score": np.zeros((2, 2))}, {})
    assert not list(path.parent.iterdir())


def test_integers_that_do_not_fit_are_refused(path):
    with pytest.raises(ValueError, match=f"{2**31} or -5 does not fit into int32"):
        hdf5.write(path, IDS, {"id": [-5, 2**31]}, {})
    hdf5.write(path, IDS, {"id": [-(2**31), 2**31 - 1]}, {})
    assert hdf5.read(path)["id"].tolist() == [-(2**31), 2**31 - 1]


def test_the_same_values_give_the_same_bytes(tmp_path):
    first, second = write_twice(tmp_path, lambda path: hdf5.write(path, NUMBERS, numbers(), ORIGIN))
    assert first == second


def test_no_dataset_holds_a_time(path, micro):
    def times():
        with h5py.File(path) as file:
            return {h5py.h5g.get_objinfo(dataset.id).mtime for dataset in file.values()}

    hdf5.write(path, NUMBERS, numbers(), ORIGIN)
    assert times() == {0}


def test_a_failure_leaves_nothing_under_the_name(path):
    def fail():
        with hdf5.create(path, IDS, ORIGIN) as writer:
            writer.add("id", [1])
            assert not path.exists()
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        fail()
    assert not list(path.parent.iterdir())


def test_a_failure_leaves_the_old_file(path):
    hdf5.write(path, NUMBERS, numbers(), ORIGIN)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="axes"):
        hdf5.write(path, SCORES, {"score": 1.0}, ORIGIN)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_file_is_named(path):
    with pytest.raises(UserError, match=f"{path} cannot be read"):
        hdf5.read(path)


@pytest.mark.parametrize("kept", [0, 100, 1000, -1])
def test_a_file_cut_short_is_named(path, kept):
    hdf5.write(path, NUMBERS, numbers(), ORIGIN)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=f"{path} is damaged"):
        hdf5.read(path)


def test_a_flipped_bit_anywhere_is_noticed(path):
    hdf5.write(path, NUMBERS, numbers(), ORIGIN)
    content = path.read_bytes()
    for place in range(0, len(content), 13):
        flipped = bytearray(content)
        flipped[place] ^= 1 << (place % 8)
        path.write_bytes(flipped)
        with pytest.raises(UserError, match=f"{path} is damaged"):
            hdf5.read(path)


def test_bytes_behind_a_file_are_noticed(path):
    hdf5.write(path, NUMBERS, numbers(), ORIGIN)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UserError, match=f"{path} is damaged"):
        hdf5.read(path)


def test_h5py_reads_a_sealed_file_as_it_is(path):
    hdf5.write(path, NUMBERS, numbers(), ORIGIN)
    with h5py.File(path) as file:
        assert file.attrs["study"] == ORIGIN["study"]
        assert file["sure"][:].tolist() == [True, False]


def test_what_a_killed_job_left_is_cleared_away(path):
    path.parent.mkdir(exist_ok=True)
    stale = path.with_name(f".{path.name}.99999999.tmp")
    others = path.with_name(f".{path.name}x.99999999.tmp")
    for left in (stale, others):
        left.write_text("half")
    hdf5.write(path, NUMBERS, numbers(), ORIGIN)
    assert not stale.exists()
    assert others.exists()


def test_a_missing_dataset_is_named(path):
    hdf5.write(path, NUMBERS, numbers(), ORIGIN)
    with pytest.raises(UserError, match=f"{path} holds no dataset 'gone'"):
        _ = hdf5.read(path)["gone"]


def test_a_file_is_verified_once_per_process_however_often_it_is_looked_into(tmp_path, monkeypatch):
    parts, whole = [tmp_path / f"part_{number}.h5" for number in range(2)], tmp_path / "whole.h5"
    for part in parts:
        hdf5.write(part, SCORES, {"score": [1.0, 2.0]}, {})
    with ExitStack() as stack:
        files = [stack.enter_context(hdf5.opened(part)) for part in parts]
        with hdf5.create(whole, SCORES, {}) as writer:
            writer.join("score", [file["score"] for file in files])
            writer.join("other", [file["score"] for file in files])
    hashed = []
    hdf5._verified.cache_clear()
    monkeypatch.setattr(hdf5, "sha256", lambda: hashed.append(1) or sha256())
    for _ in range(3):
        assert hdf5.read(whole)["other"].tolist() == [1, 2, 1, 2]
    assert len(hashed) == 3
