"""Writing files so that a name never holds half of one: under a temporary name beside it, renamed when complete."""

import errno
import glob
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from an_neuron.errors import FullDiskError, UserError

if TYPE_CHECKING:
    import pandas as pd

FULL = (errno.ENOSPC, errno.EDQUOT)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, delete it on any failure.

    Raises
    ------
    FullDiskError
        If the disk is full.
    UserError
        If the folder may not be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # of jobs that were killed
            stale.unlink(missing_ok=True)
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
    except OSError as error:
        raise (_sentence(path, error) or error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    """Wait until the disk holds a file, so that a machine that stops cannot leave its name to half of it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sentence(path: Path, error: OSError) -> UserError | None:
    """Return what a user can do about an error, if it is the disk's or the folder's."""
    if error.errno in FULL:
        return FullDiskError(f"The disk is full: {path} cannot be written; make room.")
    if error.errno == errno.EFBIG:
        return FullDiskError(f"{path} is larger than its disk or a limit (ulimit -f) allows; raise it.")
    if error.errno in REFUSED and _is_about(path, error):
        reason = os.strerror(error.errno)  # HDF5's own is a paragraph
        return UserError(f"{path} cannot be written ({reason}); make its folder writable.")
    return None


def _is_about(path: Path, error: OSError) -> bool:
    """Return whether an error is about a file, or its folder; HDF5 names files in the text of its errors alone."""
    if error.filename is None:
        return f".{path.name}." in str(error)
    return str(error.filename).startswith(str(path.parent))


def check_room(path: str | Path, n_bytes: float) -> None:
    """Refuse to begin a file that its disk has no room for: each job that writes a large one asks before it computes.

    Parameters
    ----------
    path
        The file, which need not exist, nor its folder.
    n_bytes
        About how large it will be at least, besides what it replaces; `Schema.n_bytes` counts it by the file's shapes.

    Raises
    ------
    FullDiskError
        If there is less room.
    """
    folder = next(parent for parent in Path(path).absolute().parents if parent.is_dir())
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        needed = f"{path} needs {n_bytes / 1e6:,.1f} MB, and its disk has {free / 1e6:,.1f} MB"
        raise FullDiskError(f"The disk is too full: {needed}; make room.")


def unwritable(folder: str | Path) -> str | None:
    """Return None where files can be written below a folder, which need not exist, else a sentence of why not."""
    whole = Path(folder).absolute()
    there = next(each for each in (whole, *whole.parents) if each.exists())
    if not there.is_dir():
        return f"Results cannot be written to {folder}: {there} is no folder."
    if not os.access(there, os.W_OK | os.X_OK):
        return f"Results cannot be written to {folder}: the folder {there} is read-only; make it writable."
    return None


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write bytes."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: str | Path, text: str) -> None:
    """Write a text as UTF-8, with its line ends as they are."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any, indent: int | None = None, sort_keys: bool = False) -> None:
    """Write a value as JSON; the same value gives the same bytes."""
    write_text(path, as_json(value, indent, sort_keys))


def write_csv(path: str | Path, frame: "pd.DataFrame") -> None:
    """Write a table as CSV, without its index."""
    write_text(path, as_csv(frame))


def as_csv(frame: "pd.DataFrame") -> str:
    """Return a table as the CSV that `write_csv` writes, with a line feed for every line end."""
    return frame.to_csv(index=False, lineterminator="\n")


def as_json(value: Any, indent: int | None = None, sort_keys: bool = False) -> str:
    """Return a value as the JSON that `write_json` writes."""
    return json.dumps(value, indent=indent, sort_keys=sort_keys, ensure_ascii=False) + "\n"
