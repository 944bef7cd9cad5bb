import shutil
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
from book_pass import ORIGIN, gathered

from an_neuron.corpus import recordings
from an_neuron.corpus.associations import Association
from an_neuron.corpus.description import describe_association
from an_neuron.corpus.gathering import gather
from an_neuron.corpus.recorded import Kept, Recorded
from an_neuron.corpus.recordings import read_association, recording
from an_neuron.corpus.shards import Part, write_shard
from an_neuron.corpus.summaries import FIRST_TOP, Summary
from an_neuron.errors import UserError
from an_neuron.files import hdf5

MICRO_ASSOCIATIONS = [
    Association("c", 3, 0, 0, "studied"),
    Association("d", 4, 0, 1, "listed"),
    Association("c", 3, 0, 1, "listed"),
]
FIRST, SECOND, THIRD = ("token_c_neuron_0.0", "token_d_neuron_0.1", "token_c_neuron_0.1")
MICRO_ROWS = [[0, 1, 3], [0, 2, 1], [3, 3, 3]]
ASSOCIATIONS = [
    Association("g", 7, 1, 5, "studied"),
    Association("h", 8, 0, 3, "listed"),
    Association("g", 7, 0, 2, "listed"),
]
NAMES = ["token_g_neuron_1.5", "token_h_neuron_0.3", "token_g_neuron_0.2"]
ROWS = np.random.default_rng(5).integers(1, 50, (11, 9)).astype(np.int32)


@pytest.fixture
def whole(tmp_path, tiny_gpt2):
    return gathered(tmp_path / "whole", tiny_gpt2, ROWS, ASSOCIATIONS, size=2)


def summary_in(path, name):
    with recording(path, name) as recorded:
        return recorded.summary


def test_a_pass_of_a_model_worked_out_by_hand(tmp_path, micro):
    path = gathered(tmp_path, micro, MICRO_ROWS, MICRO_ASSOCIATIONS)
    first, second, third = (read_association(path, name) for name in (FIRST, SECOND, THIRD))
    assert first["activation"].tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert second["activation"].tolist() == third["activation"].tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert first["margin"].ravel().tolist() == pytest.approx([36, 39, 36, 36, -29, 39, 36, 36, 36], abs=1e-5)
    assert second["margin"].ravel().tolist() == pytest.approx([-36, -39, -36, -36, 5, -39, -36, -36, -36], abs=1e-5)
    assert (third["margin"] == first["margin"]).all()
    assert first["top_prediction"].tolist() == [[3, 3, 3], [3, 4, 3], [3, 3, 3]]
    assert first["token_id"].tolist() == MICRO_ROWS
    assert first["vocabulary"].tolist() == ["<|endoftext|>", "a", "b", "c", "d"]
    # At the beginning of a row a token is BOS, so the first of the last row's does not count.
    assert [(t.attributes["occurrences"], t.attributes["top_predictions"]) for t in (first, second)] == [(3, 8), (0, 1)]
    attributes = second.attributes
    assert [attributes[name] for name in ("token", "token_id", "layer", "index", "n_tokens")] == ["d", 4, 0, 1, 9]
    assert [attributes[name] for name in ("study", "readout", "dtype", "keep")] == [
        "tiny",
        "unembedding",
        "float32",
        "all",
    ]


@pytest.mark.parametrize("n_shards", [2, 3, 11])
def test_gathered_shards_equal_the_unsharded_pass_bit_for_bit(tmp_path, tiny, n_shards):
    whole = gathered(tmp_path / "whole", tiny, ROWS, ASSOCIATIONS, size=2, foil=8)
    parts = gathered(tmp_path / "parts", tiny, ROWS, ASSOCIATIONS, n_shards, size=2, foil=8)
    for name in NAMES:
        one, other = read_association(whole, name), read_association(parts, name)
        assert all((one[key] == other[key]).all() for key in one.datasets)
        assert one.attributes == other.attributes
    with h5py.File(whole) as file, h5py.File(parts) as other:
        for name in ("logit_difference", "expected"):
            assert file[name].shape == ROWS.shape
            assert (file[name][:] == other[name][:]).all()


@pytest.mark.parametrize("n_shards", [1, 2, 11])
def test_a_kept_summary_is_that_of_every_value(tmp_path, tiny_gpt2, whole, monkeypatch, n_shards):
    monkeypatch.setattr(recordings, "ROWS_AT_ONCE", 4)
    kept = gathered(tmp_path / "kept", tiny_gpt2, ROWS, ASSOCIATIONS, n_shards, "summary", size=2)
    for name in NAMES:
        summary, expected = summary_in(kept, name), summary_in(whole, name)
        for part in ("count", "prediction_count"):
            assert (getattr(summary, part) == getattr(expected, part)).all()
        assert all((a == b).all() for a, b in zip(summary.places.parts(), expected.places.parts(), strict=True))
        assert summary.count.sum() == ROWS.size
    with h5py.File(kept) as file, h5py.File(whole) as other:
        assert "activation" not in file
        assert (file["token_id"][:] == ROWS).all()
        for name in ("occurrences", "top_predictions"):
            assert (file[name][:] == other[name][:]).all()


@pytest.mark.parametrize("keep", ["all", "summary"])
def test_a_group_has_one_margin_and_every_occurrence_of_its_tokens(tmp_path, tiny_gpt2, whole, keep):
    group = Association("g/h", 7, 1, 5, "listed", (8,))
    path = gathered(tmp_path / "group", tiny_gpt2, ROWS, [*ASSOCIATIONS, group], 2, keep, size=2)
    with recording(path, "token_g_h_neuron_1.5") as found, recording(whole, NAMES[0]) as alone:
        attributes = found.attributes
        assert (attributes["token"], attributes["token_id"]) == ("g/h", 7)
        assert attributes["occurrences"] == np.isin(ROWS[:, 1:], [7, 8]).sum()
        hits = np.isin(alone.top_prediction, [7, 8])
        assert attributes["top_predictions"] == hits.sum()
        assert found.summary.count[:, FIRST_TOP:].sum() == hits.sum()
        if keep == "all":
            assert (found.activation == alone.activation).all()
            assert ((found.margin > 0) == hits).all()


def test_shards_of_other_groups_do_not_fit(tmp_path, tiny_gpt2):
    def group(other):
        return [Association("g/x", 7, 1, 5, "studied", (other,))]

    first, second = (gathered(tmp_path / str(other), tiny_gpt2, ROWS, group(other), 2, size=2) for other in (8, 9))
    shards = [path.parent / "shards" / name for path, name in ((first, "1-of-2.h5"), (second, "2-of-2.h5"))]
    with pytest.raises(UserError, match="or not the same associations"):
        gather(tmp_path / "mixed.h5", shards, tmp_path / "8" / "corpus" / "tokens.h5", ["x"] * 50, {})


def test_the_summary_of_an_association_is_that_of_its_values(whole):
    table, summary = read_association(whole, NAMES[1]), Summary(50)
    summary.add(table["activation"], table["margin"], table["top_prediction"], 0)
    assert (summary.count == summary_in(whole, NAMES[1]).count).all()


def test_answer_and_foil_are_compared_where_there_is_a_foil(tmp_path, micro, whole):
    """The answer's logit is 30a + 15b + 6 = 39 at (0.8, 0.6, 0), the foil's 15c; see `micro`."""
    path = gathered(tmp_path, micro, MICRO_ROWS, MICRO_ASSOCIATIONS, foil=4)
    with h5py.File(path) as file, h5py.File(whole) as other:
        assert file.attrs["foil_id"] == 4
        assert file["logit_difference"][:].ravel().tolist() == pytest.approx(
            [36, 39, 36, 36, -29, 39, 36, 36, 36], abs=1e-5
        )
        at_token_2 = np.exp(5) / (np.exp(5) + 3)  # logits 5 and -24, and three of 0
        assert file["expected"][:].ravel().tolist() == pytest.approx([1, 1, 1, 1, at_token_2, 1, 1, 1, 1], abs=1e-6)
        assert other.attrs["foil_id"] == -1
        assert "expected" not in other


def test_half_precision_is_within_its_rounding(tmp_path, tiny_gpt2, whole):
    half = gathered(tmp_path / "half", tiny_gpt2, ROWS, ASSOCIATIONS, dtype="float16", size=2)
    with h5py.File(half) as file:
        assert file["activation"].dtype == file["margin"].dtype == np.float16
    for name in NAMES:
        exact, rounded = read_association(whole, name), read_association(half, name)
        for key in ("activation", "margin"):
            assert rounded[key].dtype == np.float32
            assert rounded[key] == pytest.approx(exact[key], rel=2**-11, abs=2**-24)
        assert rounded.attributes["top_predictions"] == exact.attributes["top_predictions"]


def test_a_gathered_file_is_read_where_its_folder_was_moved(tmp_path, tiny_gpt2, monkeypatch):
    path = gathered(tmp_path / "here", tiny_gpt2, ROWS, ASSOCIATIONS, 3)
    before = read_association(path, NAMES[0])
    there = tmp_path / "there" / "deeper"
    shutil.move(tmp_path / "here", there)
    monkeypatch.chdir(tmp_path)
    after = read_association(there / "activations" / "associations.h5", NAMES[0])
    assert all((before[key] == after[key]).all() for key in before.datasets)
    assert (there / "activations" / "associations.h5").stat().st_size < 100_000


@pytest.mark.parametrize("lost", ["activations/shards/2-of-3.h5", "corpus/tokens.h5"])
def test_a_lost_or_damaged_source_is_named(tmp_path, tiny_gpt2, lost):
    path = gathered(tmp_path, tiny_gpt2, ROWS, ASSOCIATIONS, 3)
    source = tmp_path / lost
    content = source.read_bytes()
    source.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=source.name):
        read_association(path, NAMES[0])
    source.unlink()
    with pytest.raises(UserError, match=source.name):
        read_association(path, NAMES[0])


def test_a_flipped_bit_in_a_value_is_noticed(tmp_path, tiny_gpt2):
    path = gathered(tmp_path, tiny_gpt2, ROWS, ASSOCIATIONS)
    shard = tmp_path / "activations" / "shards" / "1-of-1.h5"
    with h5py.File(shard) as file:
        where = file["activation"].id.get_chunk_info(0).byte_offset
    content = bytearray(shard.read_bytes())
    content[where + 5] ^= 1
    shard.write_bytes(content)
    with pytest.raises(UserError, match=r"is damaged"):
        read_association(path, NAMES[0])


def test_shards_of_different_passes_are_not_gathered(tmp_path, tiny_gpt2):
    shards = tmp_path / "activations" / "shards"
    gathered(tmp_path, tiny_gpt2, ROWS, ASSOCIATIONS, 3)
    tokens, rest = tmp_path / "corpus" / "tokens.h5", (["?"] * 50, {})
    paths = [shards / f"{number}-of-3.h5" for number in (1, 2, 3)]
    out = tmp_path / "again.h5"
    for wrong in (paths[:2], paths[1:], [paths[0], paths[2]], [*paths, paths[1]]):
        with pytest.raises(UserError, match=r"hold the rows .* of 11"):
            gather(out, wrong, tokens, *rest)
    gathered(tmp_path / "other", tiny_gpt2, ROWS, ASSOCIATIONS[::-1], 3)
    with pytest.raises(UserError, match="not the same associations"):
        gather(out, [*paths[:2], tmp_path / "other/activations/shards/3-of-3.h5"], tokens, *rest)
    gathered(tmp_path / "foil", tiny_gpt2, ROWS, ASSOCIATIONS, 3, foil=8)
    with pytest.raises(UserError, match="not the same associations"):
        gather(out, [*paths[:2], tmp_path / "foil/activations/shards/3-of-3.h5"], tokens, *rest)
    assert not out.exists()
    gather(out, paths[::-1], tokens, *rest)  # any order is right
    assert (read_association(out, NAMES[0])["token_id"] == ROWS).all()


def test_unknown_associations_are_named(whole):
    with pytest.raises(UserError, match=r"holds no association token_x.*token_g_neuron_1.5, token_h"):
        read_association(whole, "token_x_neuron_0.0")


def part_of(n_rows):
    numbers = np.zeros((1, n_rows, 2), np.float32)
    return Recorded(numbers, numbers, np.zeros((n_rows, 2), np.int64))


def write(path, parts, n_rows=3):
    rows = np.zeros((n_rows, 2), np.int32)
    write_shard(path, parts, Part(rows, 0, n_rows), ASSOCIATIONS[:1], 50, Kept("all", "float32", False), ORIGIN)


def test_a_pass_that_fails_midway_leaves_no_shard(tmp_path):
    def fails():
        yield part_of(1)
        raise UserError("row 1")

    with pytest.raises(UserError, match="row 1"):
        write(tmp_path / "shard.h5", fails())
    assert not list(tmp_path.iterdir())


def test_values_that_half_precision_cannot_hold_are_refused(tmp_path):
    values = np.array([[[1.0, -65_520.0]]], np.float32)
    part = Recorded(values, values[:, :, ::-1], np.zeros((1, 2), np.int64))
    rows, kept = Part(np.zeros((1, 2), np.int32), 0, 1), Kept("all", "float16", False)
    with pytest.raises(UserError, match="of 65520 is beyond what float16 can hold") as caught:
        write_shard(tmp_path / "shard.h5", [part], rows, ASSOCIATIONS[:1], 50, kept, ORIGIN)
    assert caught.value.setting == "corpus: {dtype: float32}"
    assert not list(tmp_path.iterdir())


def test_a_pass_that_ends_early_leaves_no_shard(tmp_path):
    with pytest.raises(ValueError, match="up to 3 were to be recorded, not 2"):
        write(tmp_path / "shard.h5", [part_of(1), part_of(1)])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("sizes", [[7], [1] * 7, [2, 3, 2], [5, 2]])
def test_rows_are_written_in_whole_chunks_however_they_come(tmp_path, monkeypatch, sizes):
    monkeypatch.setattr("an_neuron.corpus.shards.CHUNK", 6)  # three rows of two
    values = np.arange(14, dtype=np.float32).reshape(1, 7, 2)
    whole = Recorded(values, -values, values[0].astype(np.int64))
    ends = np.cumsum(sizes)[:-1]
    columns = (np.split(part, ends, axis=-2) for part in (whole.activation, whole.margin, whole.top_prediction))
    write(tmp_path / "shard.h5", [Recorded(*parts) for parts in zip(*columns, strict=True)], 7)
    with h5py.File(tmp_path / "shard.h5") as file:
        assert file["activation"].chunks == (1, 3, 2)
        assert (file["activation"][:] == values).all()
        assert (file["margin"][:] == -values).all()
        assert (file["top_prediction"][:] == values[0]).all()


def test_the_same_pass_gives_the_same_bytes(tmp_path, tiny_gpt2):
    for keep in ("all", "summary"):
        one, other = (gathered(tmp_path / keep / name, tiny_gpt2, ROWS, ASSOCIATIONS, 2, keep) for name in "ab")
        for path in ("activations/associations.h5", "activations/shards/1-of-2.h5", "activations/shards/2-of-2.h5"):
            association = [(folder.parents[1] / path).read_bytes() for folder in (one, other)]
            assert association[0] == association[1], path


def test_no_dataset_holds_a_time(tmp_path, tiny_gpt2):
    for keep in ("all", "summary"):
        path = gathered(tmp_path / keep, tiny_gpt2, ROWS, ASSOCIATIONS, 2, keep)
        for name in (path, path.parent / "shards" / "1-of-2.h5"):
            with h5py.File(name) as file:
                assert {h5py.h5g.get_objinfo(dataset.id).mtime for dataset in file.values()} == {0}


def test_files_describe_every_dataset(tmp_path, tiny_gpt2):
    for keep in ("all", "summary"):
        path = gathered(tmp_path / keep, tiny_gpt2, ROWS, ASSOCIATIONS, 2, keep)
        for name in (path, path.parent / "shards" / "1-of-2.h5"):
            with h5py.File(name) as file:
                for dataset in file.values():
                    assert len(dataset.attrs["dims"].split()) == dataset.ndim
                    assert dataset.attrs["description"]


def test_each_dataset_is_read_once_from_a_file_that_is_opened_once(tmp_path, tiny_gpt2, monkeypatch):
    """Verified once per process, too: a hash of the gathered file and of each that it looks into."""
    opened, read, verified = [], [], []
    get, is_open, is_sound = h5py.Dataset.__getitem__, h5py.File.__init__, hdf5._verified.__wrapped__

    def noting_open(self, name, *args, **options):
        if isinstance(name, str | Path):  # not a handle of an open one
            opened.append(Path(name).name)
        is_open(self, name, *args, **options)

    def noting_read(self, *args, **options):
        read.append(self.name)
        return get(self, *args, **options)

    def noting_verification(path, *args):
        verified.append(path.name)
        return is_sound(path, *args)

    for keep in ("all", "summary"):
        path = gathered(tmp_path / keep, tiny_gpt2, ROWS, ASSOCIATIONS, 2, keep)
        with monkeypatch.context() as patched:
            patched.setattr(h5py.File, "__init__", noting_open)
            patched.setattr(h5py.Dataset, "__getitem__", noting_read)
            patched.setattr(hdf5, "_verified", cache(noting_verification))
            describe_association(path, NAMES[0], tiny_gpt2.tokenizer)
        sources = ["1-of-2.h5", "2-of-2.h5"] if keep == "all" else []
        assert sorted(opened) == sorted(verified) == [*sources, "associations.h5", "tokens.h5"]
        assert len(read) == len(set(read)) >= 11
        for counted in (opened, read, verified):
            counted.clear()


def test_values_come_back_as_float32_tables(whole):
    table = read_association(whole, NAMES[2])
    assert isinstance(table, hdf5.Table)
    assert table["activation"].dtype == table["margin"].dtype == np.float32
