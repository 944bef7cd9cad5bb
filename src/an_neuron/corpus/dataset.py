"""Fetching the files of a dataset's split from the Hugging Face hub, at a pinned revision.

`datasets` says which of the repository's files make up a split; they are fetched as they are, into the hub's cache, and
read from there like local ones. Nothing is converted, and no code of the dataset runs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
from huggingface_hub.constants import HF_HUB_CACHE
from tqdm import tqdm

from an_neuron.corpus.sources import DATASET_LIST, KINDS, kind_of
from an_neuron.errors import UserError
from an_neuron.files.atomic import check_room
from an_neuron.files.schema import Schema
from an_neuron.files.sealed import seal_of, write_json

DATASET = Schema(
    "downloads/datasets/{dataset}/dataset.json",
    "a fetched split of a dataset: `files` in their order with their sizes in bytes, and `origin`, from where",
)


def fetch_dataset(source: Mapping[str, str | None], folder: Path) -> None:
    """Put links to a split's files into a folder, and last the list of them, `dataset.json`.

    Files that the hub's cache has are not fetched again; an interrupted download goes on where it stopped.

    Parameters
    ----------
    source
        name, revision (a commit), split, and config or None.
    folder
        Where the files are to be found.

    Raises
    ------
    UserError
        If the dataset cannot be reached, does not exist, has no such configuration or split, or is in files that
        are not read.
    FullDiskError
        If the disk of the hub's cache has no room for what is to be fetched, before it is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / DATASET_LIST, seal_of(folder / DATASET_LIST)):
        old.unlink(missing_ok=True)
    files = split_files(source)
    check_room(Path(HF_HUB_CACHE) / str(source["name"]), _bytes_to_fetch(source, files))
    sizes = {}
    for name in tqdm(files, desc=f"fetch {source['name']}", unit="file", mininterval=2):
        where = {"repo_type": "dataset", "revision": source["revision"]}
        cached = Path(_asked(source, hf_hub_download, str(source["name"]), name, **where))
        link = folder / name.replace("/", "--")
        link.unlink(missing_ok=True)
        link.symlink_to(cached.resolve())
        sizes[link.name] = cached.stat().st_size
    write_json(folder / DATASET_LIST, {"origin": dict(source), "files": sizes}, indent=1)


def _bytes_to_fetch(source: Mapping[str, str | None], files: Sequence[str]) -> int:
    """Return how many bytes the hub's cache lacks of some files."""
    name, where = str(source["name"]), {"repo_type": "dataset", "revision": source["revision"]}
    lacking = [file for file in files if not isinstance(try_to_load_from_cache(name, file, **where), str)]
    listed = _asked(source, HfApi().get_paths_info, name, lacking, **where) if lacking else []
    return sum(file.size for file in listed)


def split_files(source: Mapping[str, str | None]) -> list[str]:
    """Return the names, in the dataset's repository, of the files that make up a split."""
    from datasets import load_dataset_builder

    name, split = str(source["name"]), str(source["split"])
    builder = _asked(source, load_dataset_builder, name, source["config"], revision=source["revision"])
    of_splits = {str(key): list(urls) for key, urls in (builder.config.data_files or {}).items()}
    if split not in of_splits:
        raise UserError(
            f"The dataset {name} has no split {split!r} of files; its splits are {', '.join(of_splits) or 'none'}.",
            "corpus: {dataset: {split: …}}",
        )
    return _inside(name, f"hf://datasets/{name}@{source['revision']}/", of_splits[split])


def _inside(name: str, place: str, urls: Sequence[str]) -> list[str]:
    """Return the names of files below a place; refuse files that lie elsewhere, or are not read."""
    if outside := [url for url in urls if not url.startswith(place)]:
        raise UserError(
            f"The dataset {name} has a file that is not of this name and revision, {outside[0]}; give its full name."
        )
    files = [url.removeprefix(place) for url in urls]
    if unread := [file for file in files if kind_of(file) is None]:
        raise UserError(
            f"The dataset {name} holds {unread[0]}, which is none of {', '.join(KINDS)}; save it as Parquet with "
            "`datasets.load_dataset(…).to_parquet(FILE)`.",
            "corpus: {files: FILE}",
        )
    return files


def _asked(source: Mapping[str, str | None], call: Any, *arguments: Any, **options: Any) -> Any:
    """Return what the hub's client answers; what it raises ends in a sentence."""
    try:
        return call(*arguments, **options)
    except Exception as error:  # the client lets errors of several HTTP libraries through
        name, revision = source["name"], source["revision"]
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"The dataset {name} at {revision} cannot be fetched ({type(error).__name__}: {reason}); check name, "
            f"revision and config, connect to the network, or run `hf download --repo-type dataset {name} --revision "
            f"{revision}` where there is one and copy that cache.",
            "corpus: {files: PATH}",
        ) from error
