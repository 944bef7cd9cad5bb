"""The hub is made up: no test asks the network."""

import json
from types import SimpleNamespace

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from an_neuron.corpus import dataset
from an_neuron.corpus.dataset import fetch_dataset, split_files
from an_neuron.corpus.sources import dataset_name, fetched_files
from an_neuron.errors import DamagedFileError, FullDiskError, UserError
from an_neuron.files import sealed

REVISION = "127bfedcd5047750df5ccf3a12979a47bfa0bafa"
SOURCE = {"name": "someone/some-texts", "revision": REVISION, "config": None, "split": "train"}
PLACE = f"hf://datasets/someone/some-texts@{REVISION}/"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository of two splits; returns its folder, what was asked of it, and its list of files."""
    folder, asked = tmp_path / "cache", []
    (folder / "data").mkdir(parents=True)
    for number in range(2):
        pq.write_table(pa.table({"text": [f"text {number}"]}), folder / "data" / f"train-{number}.parquet")
    splits = {"train": [f"{PLACE}data/train-0.parquet", f"{PLACE}data/train-1.parquet"], "test": [f"{PLACE}test.csv"]}

    def builder(name, config, revision):
        asked.append((name, config, revision))
        return SimpleNamespace(config=SimpleNamespace(data_files=splits))

    def download(name, file, repo_type, revision):
        assert (name, repo_type, revision) == (SOURCE["name"], "dataset", REVISION)
        asked.append(file)
        return str(folder / file)

    monkeypatch.setattr(datasets, "load_dataset_builder", builder)

    sizes = {f"data/{path.name}": path.stat().st_size for path in (folder / "data").iterdir()}

    def paths_info(api, name, files, repo_type, revision):
        return [SimpleNamespace(path=file, size=sizes[file]) for file in files]

    monkeypatch.setattr(dataset, "hf_hub_download", download)
    monkeypatch.setattr(dataset.HfApi, "get_paths_info", paths_info)
    monkeypatch.setattr(dataset, "try_to_load_from_cache", lambda *_, **__: None)
    return SimpleNamespace(folder=folder, asked=asked, splits=splits)


def test_a_split_is_links_to_its_files_in_their_order(hub, tmp_path):
    fetch_dataset(SOURCE, tmp_path / "dataset")
    assert hub.asked == [("someone/some-texts", None, REVISION), "data/train-0.parquet", "data/train-1.parquet"]
    files = fetched_files(tmp_path / "dataset" / "dataset.json")
    assert files == [str(tmp_path / "dataset" / f"data--train-{number}.parquet") for number in range(2)]
    assert [pq.read_table(file)["text"].to_pylist() for file in files] == [["text 0"], ["text 1"]]
    listed = json.loads((tmp_path / "dataset" / "dataset.json").read_text())
    assert listed["origin"] == SOURCE
    assert list(listed["files"].values()) == [path.stat().st_size for path in sorted((hub.folder / "data").iterdir())]


def test_room_is_asked_for_before_a_file_is_fetched(hub, tmp_path, monkeypatch, disk):
    sizes = [path.stat().st_size for path in (hub.folder / "data").iterdir()]
    disk.free = sum(sizes) - 1
    with pytest.raises(FullDiskError, match=r"someone/some-texts needs .* MB, and its disk has"):
        fetch_dataset(SOURCE, tmp_path / "dataset")
    assert hub.asked == [("someone/some-texts", None, REVISION)]
    held = str(hub.folder / "data" / "train-0.parquet")
    monkeypatch.setattr(dataset, "try_to_load_from_cache", lambda name, file, **_: held if "0" in file else None)
    fetch_dataset(SOURCE, tmp_path / "dataset")


def test_a_fetch_that_ends_early_leaves_no_list(hub, tmp_path):
    fetch_dataset(SOURCE, tmp_path / "dataset")
    (hub.folder / "data" / "train-1.parquet").unlink()
    with pytest.raises(FileNotFoundError):
        fetch_dataset(SOURCE, tmp_path / "dataset")
    assert not (tmp_path / "dataset" / "dataset.json").exists()


def test_splits_that_cannot_be_read_are_refused(hub):
    with pytest.raises(UserError, match="has no split 'dev' of files; its splits are train, test"):
        split_files({**SOURCE, "split": "dev"})
    with pytest.raises(UserError, match=r"holds test\.csv, which is none of \.txt"):
        split_files({**SOURCE, "split": "test"})
    hub.splits["train"] = ["hf://datasets/elsewhere/texts@main/a.parquet"]
    with pytest.raises(UserError, match="has a file that is not of this name and revision, hf://datasets/elsewhere"):
        split_files(SOURCE)


def test_a_hub_that_cannot_be_reached_is_told_in_a_sentence(hub, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError("no\nroute")

    monkeypatch.setattr(datasets, "load_dataset_builder", unreachable)
    with pytest.raises(UserError, match=r"cannot be fetched \(ConnectionError: no route\); check name") as caught:
        split_files(SOURCE)
    assert caught.value.setting == "corpus: {files: PATH}"


def test_datasets_itself_names_the_files_of_a_folder(tmp_path, monkeypatch):
    """The real builder, on a local folder in the hub's place: it says which files make up which split."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    for split in ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001"):
        pq.write_table(pa.table({"text": ["a"]}), tmp_path / "data" / f"{split}.parquet")
    builder = datasets.load_dataset_builder(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    found = {str(split): [url.rpartition("/")[2] for url in urls] for split, urls in builder.config.data_files.items()}
    assert found == {
        "train": ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
        "test": ["test-00000-of-00001.parquet"],
    }


def test_studies_of_one_split_share_a_folder():
    assert dataset_name(SOURCE) == dataset_name(dict(reversed(SOURCE.items())))
    assert dataset_name(SOURCE).startswith("someone--some-texts@127bfedc-")
    assert dataset_name({**SOURCE, "split": "test"}) != dataset_name(SOURCE)


def test_a_broken_list_is_refused(tmp_path):
    sealed.write_json(tmp_path / "dataset.json", {"files": ["a"]})
    with pytest.raises(DamagedFileError, match="lists no files of a dataset"):
        fetched_files(tmp_path / "dataset.json")
