from types import SimpleNamespace

import httpx
import pytest
from huggingface_hub.errors import (
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from an_neuron.errors import FullDiskError, UserError
from an_neuron.model import hub

REVISION = "0" * 40


@pytest.fixture
def snapshot(tmp_path, tiny_gpt2, monkeypatch):
    """Let the hub's cache hold a model; return its folder and what was asked of the hub."""
    asked = []

    def snapshot_download(name, dry_run=False, **options):
        asked.append((name, options))
        files = [("cached", 2 * 10**18), ("model.safetensors", 3 * 10**7), ("config.json", None)]
        planned = [SimpleNamespace(file_size=size, will_download=name != "cached") for name, size in files]
        return planned if dry_run else str(tiny_gpt2.folder)

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)
    return tiny_gpt2.folder, asked


def failing(monkeypatch, error):
    def snapshot_download(name, **options):
        raise error

    monkeypatch.setattr(hub, "snapshot_download", snapshot_download)


def http_error(kind):
    return kind("refused", response=httpx.Response(404, request=httpx.Request("GET", "https://hub.example")))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_files_are_linked(snapshot, folder):
    source, asked = snapshot
    hub.fetch_model("an/model", REVISION, folder)
    assert (folder / "model.safetensors").resolve() == (source / "model.safetensors").resolve()
    name, options = asked[0]
    assert (name, options["revision"]) == ("an/model", REVISION)
    assert not {"*.bin", "*.py", "*.pt"} & set(options["allow_patterns"])


def test_room_is_asked_for_before_a_model_is_fetched(snapshot, folder, disk):
    """30 MB are not cached yet."""
    disk.free = 3 * 10**7 - 1
    with pytest.raises(FullDiskError, match=r"an/model needs 30\.0 MB, and its disk has 30\.0 MB; make room"):
        hub.fetch_model("an/model", REVISION, folder)
    assert len(snapshot[1]) == 1
    disk.free += 1
    hub.fetch_model("an/model", REVISION, folder)


def test_without_a_network_what_the_cache_holds_is_taken(snapshot, folder, monkeypatch):
    download = hub.snapshot_download

    def offline(name, dry_run=False, **options):
        if dry_run:
            raise DryRunError("no connection")
        return download(name, **options)

    monkeypatch.setattr(hub, "snapshot_download", offline)
    hub.fetch_model("an/model", REVISION, folder)
    assert (folder / "config.json").is_symlink()


def test_fetching_again_replaces_links(snapshot, folder):
    for _ in range(2):
        hub.fetch_model("an/model", REVISION, folder)
    assert (folder / "config.json").read_text() == (snapshot[0] / "config.json").read_text()


def test_a_model_with_pickled_weights_only_is_refused(snapshot, tmp_path, monkeypatch):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    (broken / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(hub, "snapshot_download", lambda name, dry_run=False, **_: [] if dry_run else str(broken))
    with pytest.raises(UserError, match=r"an/model cannot be used: .*pickled weights are refused"):
        hub.fetch_model("an/model", REVISION, tmp_path / "models")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (http_error(RepositoryNotFoundError), "The hub has no model an/model at revision 0000"),
        (http_error(RevisionNotFoundError), "The hub has no model an/model at revision 0000"),
        (http_error(GatedRepoError), "an/model is gated: accept its terms on the hub and run `hf auth login`"),
        (
            LocalEntryNotFoundError("offline"),
            "are not on this machine and cannot be fetched (LocalEntryNotFoundError): connect to the network",
        ),
        (http_error(HfHubHTTPError), "or give a local folder"),
        (httpx.ConnectError("no route"), "the study orchard needs neither network nor GPU"),
        (OSError("disk full"), "cannot be fetched"),
    ],
)
def test_failures_are_one_sentence_with_the_way_out(monkeypatch, tmp_path, error, said):
    failing(monkeypatch, error)
    with pytest.raises(UserError) as caught:
        hub.fetch_model("an/model", REVISION, tmp_path / "models")
    assert said in str(caught.value)
    assert not (tmp_path / "models").exists()
