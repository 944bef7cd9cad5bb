"""Self-describing HDF5 files: the one module through which every result is written and read.

A file holds named datasets. Each has the attributes ``dims`` (names of its axes, space separated), ``unit`` and
``description``; the root has the attributes study, model, revision, dtype and version. Scores are float32, ids int32,
texts variable-length UTF-8. Files are written to a temporary name and renamed, so a name never holds half a file, and
carry no time stamps, so the same values give the same bytes. Behind its HDF5 content, where HDF5 does not look, a file
has a seal, the content's SHA-256: it tells of every damage, some of which HDF5 itself would read without a word.
"""

import errno
import glob
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from an_neuron import __version__
from an_neuron.errors import FullDiskError, UserError

SEAL = b"\nan_neuron sha256 "
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Dataset:
    """Values with the names of their axes, their unit and one sentence on what they are.

    Counts that may pass two billion are `wide`: int64.
    """

    values: Any
    dims: tuple[str, ...]
    unit: str = ""
    description: str = ""
    wide: bool = False


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, delete it on any failure.

    Raises
    ------
    FullDiskError
        If the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):  # of jobs that were killed
        stale.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise FullDiskError(
            f"The disk is full: {path} cannot be written. Make room and run snakemake again."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def create(path: str | Path, attributes: Mapping[str, Any]) -> Iterator[h5py.File]:
    """Open a new file for streaming writes; it appears under `path` only when the block succeeds."""
    with replacing(path) as temporary:
        with h5py.File(temporary, "w", track_order=True) as file:
            file.attrs["version"] = __version__
            for key, value in attributes.items():
                file.attrs[key] = value
            yield file
        _seal(temporary)


def add(file: h5py.File, name: str, dataset: Dataset, **options: Any) -> h5py.Dataset:
    """Add `dataset` to an open file as float32, int32, bool or UTF-8 text; return the h5py dataset."""
    values = np.asarray(dataset.values, np.int64) if dataset.wide else _storable(dataset.values)
    if values.ndim != len(dataset.dims):
        raise ValueError(f"{name}: {values.ndim} axes, but dims {dataset.dims}")
    created = file.create_dataset(name, data=values, dtype=_stored_type(values), track_times=False, **options)
    describe(created, dataset)
    return created


def describe(created: h5py.Dataset, dataset: Dataset) -> None:
    """Write the dims, unit and description of `dataset` into the attributes of an h5py dataset."""
    created.attrs["dims"] = " ".join(dataset.dims)
    created.attrs["unit"] = dataset.unit
    created.attrs["description"] = dataset.description


def write(path: str | Path, datasets: Mapping[str, Dataset], attributes: Mapping[str, Any]) -> None:
    """Write a whole file at once."""
    with create(path, attributes) as file:
        for name, dataset in datasets.items():
            add(file, name, dataset)


@dataclass(frozen=True)
class Table:
    """All datasets of a file as numpy arrays (texts as object arrays of str), and its root attributes."""

    path: Path
    datasets: dict[str, np.ndarray]
    attributes: dict[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.datasets:
            raise UserError(f"{self.path} holds no dataset {name!r}; delete the file and run snakemake again.")
        return self.datasets[name]


def read(path: str | Path) -> Table:
    """Read a whole file.

    Raises
    ------
    UserError
        If the file is missing or damaged; the message names it.
    """
    with opened(path) as file:
        datasets = {name: _loaded(file[name]) for name in file}
        return Table(Path(path), datasets, dict(file.attrs))


@contextmanager
def opened(path: str | Path) -> Iterator[h5py.File]:
    """Open a file for reading; a missing or damaged one, or one that it looks into, is named in a UserError."""
    try:
        sound = _is_sound(Path(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); delete it and run snakemake again.") from error
    if not sound:
        raise UserError(f"{path} is damaged: its content is not what was written; delete it and run snakemake again.")
    with h5py.File(path, "r") as file:
        _check_sources(file)
        yield file


def _seal(path: Path) -> None:
    """Write the SHA-256 of a file behind its content."""
    with path.open("r+b") as file:
        file.write(SEAL + file_digest(file, "sha256").hexdigest().encode())


def _is_sound(path: Path) -> bool:
    """Say whether a file's content is that of its seal."""
    size = path.stat().st_size - len(SEAL) - 64
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(max(0, min(1 << 20, size - file.tell()))):
            digest.update(part)
        return file.read() == SEAL + digest.hexdigest().encode()


def _check_sources(file: h5py.File) -> None:
    """Refuse a file whose virtual datasets lack a source; HDF5 would answer with fill values."""
    virtual = (file[name] for name in file if isinstance(file[name], h5py.Dataset) and file[name].is_virtual)
    for path in sorted({source.file_name for dataset in virtual for source in dataset.virtual_sources()}):
        with opened(Path(file.filename).parent / path):
            pass


def _storable(values: Any) -> np.ndarray:
    """Convert tensors and lists to a numpy array of the stored type."""
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy() if values.is_floating_point() else values.cpu().numpy()
    array = np.asarray(values)
    if array.dtype.kind == "U":
        array = np.asarray(values, dtype=object)  # numpy's own texts lose a NUL at their end
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    if array.dtype.kind in "iu":
        stored = array.astype(np.int32)
        if (stored != array).any():
            raise ValueError(f"{array.max()} or {array.min()} does not fit into int32")
        return stored
    return _texts(array) if array.dtype.kind in "UO" else array


def _texts(array: np.ndarray) -> np.ndarray:
    """Return texts as objects; NUL, which GPT-2 has a token for and HDF5 cannot store, becomes its symbol."""
    flat = [str(text).replace("\0", "\N{SYMBOL FOR NULL}") for text in array.ravel()]
    return np.array([*flat, None], dtype=object)[:-1].reshape(array.shape)


def _stored_type(array: np.ndarray) -> Any:
    return h5py.string_dtype() if array.dtype == object else array.dtype


def _loaded(dataset: h5py.Dataset) -> np.ndarray:
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[()], dtype=object)
    return np.asarray(dataset[()])
