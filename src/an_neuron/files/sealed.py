"""Texts, JSON and CSV that other jobs read: each with its SHA-256 in a file beside it, its seal.

`text.txt` stays as plain as it is, and `text.txt.sha256` is what sha256sum writes: `sha256sum --check text.txt.sha256`,
in their folder, says whether it is what was written. HDF5 files hold their seal themselves (`an_neuron.files.hdf5`).
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from an_neuron.errors import DamagedFileError
from an_neuron.files import atomic

if TYPE_CHECKING:
    import pandas as pd


def seal_of(path: str | Path) -> Path:
    """Return where the seal of a file is."""
    path = Path(path)
    return path.with_name(f"{path.name}.sha256")


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8, with its line ends as they are, and then its seal."""
    content = text.encode()
    atomic.write_bytes(path, content)
    atomic.write_bytes(seal_of(path), _seal(Path(path).name, content))


def write_json(path: str | Path, value: Any, indent: int | None = None) -> None:
    """Write a value as JSON, and then its seal; the same value gives the same bytes."""
    write_text(path, atomic.as_json(value, indent))


def write_csv(path: str | Path, frame: "pd.DataFrame") -> None:
    """Write a table as CSV, without its index, and then its seal."""
    write_text(path, atomic.as_csv(frame))


def read_text(path: str | Path) -> str:
    """Read a sealed text.

    Raises
    ------
    DamagedFileError
        If the file or its seal is missing, or the content is not what was written.
    """
    content, seal = (_read(Path(each), path) for each in (path, seal_of(path)))
    if seal != _seal(Path(path).name, content):
        raise DamagedFileError(path, "is damaged: its content is not what was written")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise DamagedFileError(path, f"is no text in UTF-8 ({error})") from error


def read_json(path: str | Path) -> Any:
    """Read a sealed JSON file; raises what `read_text` does, also where it is no JSON."""
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, f"is no JSON ({error})") from error


def _read(path: Path, sealed: str | Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        which = "cannot be read" if path == Path(sealed) else f"has no seal that can be read in {path.name}"
        raise DamagedFileError(sealed, f"{which} ({error.strerror})") from error


def _seal(name: str, content: bytes) -> bytes:
    return f"{sha256(content).hexdigest()}  {name}\n".encode()
