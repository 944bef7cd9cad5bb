"""The writer that schemas replace; goes when the last stage has one."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from an_neuron.files.atomic import replacing
from an_neuron.files.hdf5 import Table, opened, read
from an_neuron.files.seal import seal
from an_neuron.version import __version__

__all__ = ["Dataset", "Table", "add", "create", "describe", "opened", "read", "replacing", "write"]


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
def create(path: str | Path, attributes: Mapping[str, Any]) -> Iterator[h5py.File]:
    """Open a new file for streaming writes; it appears under `path` only when the block succeeds."""
    with replacing(path) as temporary:
        with h5py.File(temporary, "w", track_order=True) as file:
            file.attrs["version"] = __version__
            for key, value in attributes.items():
                file.attrs[key] = value
            yield file
        seal(temporary)


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
