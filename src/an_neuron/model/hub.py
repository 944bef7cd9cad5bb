"""Fetching a model from the Hugging Face hub into a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub import DryRunFileInfo, snapshot_download
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import DryRunError, GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils.logging import set_verbosity_error

from an_neuron.errors import UserError
from an_neuron.files.atomic import check_room
from an_neuron.model.folder import folder_mistakes

WANTED = ["*.safetensors", "*.json", "*.model", "merges.txt"]
OFFLINE_REMEDY = (
    "connect to the network, or run `hf download {hub} --revision {revision}` where there is one and copy that cache, "
    "or give a local folder; the study orchard needs neither network nor GPU."
)


def fetch_model(hub: str, revision: str, folder: Path) -> None:
    """Put the files of a model into an existing folder, as links into the hub's cache.

    Files that the cache has are not fetched again; an interrupted download goes on where it stopped. Only safetensors
    and text files are fetched, never pickled weights or code.

    Parameters
    ----------
    hub
        The model's name, "openai-community/gpt2-large".
    revision
        A commit.
    folder
        Where the files are to be found.

    Raises
    ------
    UserError
        If the model cannot be reached, does not exist, or lacks safetensors, configuration or tokenizer.
    FullDiskError
        If the disk of the hub's cache has no room for what is to be fetched, before it is.
    """
    set_verbosity_error()  # its retries are its own affair; what failed for good is said below
    wanted: dict[str, Any] = {"revision": revision, "allow_patterns": WANTED, "ignore_patterns": ["*/*", "*.index.txt"]}
    with _failures_said(hub, revision):
        n_bytes = _bytes_to_fetch(hub, wanted)
    check_room(Path(HF_HUB_CACHE) / hub, n_bytes)
    with _failures_said(hub, revision):
        snapshot = Path(snapshot_download(hub, **wanted))
    if mistakes := folder_mistakes(snapshot):
        raise UserError(f"{hub} cannot be used: {' '.join(mistakes)}")
    _link(snapshot, folder)


def _bytes_to_fetch(hub: str, wanted: dict[str, Any]) -> int:
    """Return how many bytes the hub's cache lacks of a model; 0 where only what the cache holds can be had."""
    try:
        files: list[DryRunFileInfo] = snapshot_download(hub, dry_run=True, **wanted)
    except DryRunError:  # without a network
        return 0
    return sum(file.file_size or 0 for file in files if file.will_download)


@contextmanager
def _failures_said(hub: str, revision: str) -> Iterator[None]:
    """End what the hub's client raises in a sentence."""
    try:
        yield
    except GatedRepoError as error:
        raise UserError(
            f"{hub} is gated: accept its terms on the hub and run `hf auth login`, then start again."
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise UserError(f"The hub has no model {hub} at revision {revision}; check both.") from error
    except Exception as error:  # the hub's client lets errors of several HTTP libraries through
        remedy = OFFLINE_REMEDY.format(hub=hub, revision=revision)
        raise UserError(
            f"The weights of {hub} are not on this machine and cannot be fetched ({type(error).__name__}): {remedy}",
            setting="model: {folder: PATH}",
        ) from error


def _link(snapshot: Path, folder: Path) -> None:
    for path in snapshot.iterdir():
        link = folder / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
