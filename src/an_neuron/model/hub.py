"""Fetching a model from the Hugging Face hub into a folder."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils.logging import set_verbosity_error

from an_neuron.errors import UserError
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
    """
    set_verbosity_error()  # its retries are its own affair; what failed for good is said below
    try:
        snapshot = Path(
            snapshot_download(hub, revision=revision, allow_patterns=WANTED, ignore_patterns=["*/*", "*.index.txt"])
        )
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
    if mistakes := folder_mistakes(snapshot):
        raise UserError(f"{hub} cannot be used: {' '.join(mistakes)}")
    _link(snapshot, folder)


def _link(snapshot: Path, folder: Path) -> None:
    for path in snapshot.iterdir():
        link = folder / path.name
        link.unlink(missing_ok=True)
        link.symlink_to(path.resolve())
