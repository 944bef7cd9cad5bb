"""Self-describing HDF5 files: the one module through which every such result is written and read.

A file holds the fields of its `Schema`. Each dataset has the attributes ``dims`` (names of its axes, space separated),
``unit`` and ``description``; the root has the attributes study, model, revision, dtype and version. Files carry no time
stamps, so the same values give the same bytes, appear under their name only when complete, and end with a seal.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import file_digest, sha256
from os.path import relpath
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from an_neuron.errors import DamagedFileError
from an_neuron.files.atomic import replacing
from an_neuron.files.schema import Field, Schema, storable
from an_neuron.files.version import __version__

SEAL = b"\nan_neuron sha256 "
"""Begins the seal: the SHA-256 of a file's content, written behind it where HDF5 does not look.

It tells of every damage, some of which HDF5 itself would read without a word.
"""


@dataclass(frozen=True)
class Laid:
    """What is taken of a dataset in another file, and the place to which it is laid, as many values there."""

    source: h5py.Dataset
    taken: Any
    place: tuple[slice, ...]


class Writer:
    """A new file that is being written: its fields one by one, in any order."""

    def __init__(self, file: h5py.File, schema: Schema, folder: Path) -> None:
        self.file, self._schema, self._folder = file, schema, folder

    def add(self, name: str, values: Any, **options: Any) -> None:
        """Add a field whole; `options` are h5py's (compression, …)."""
        declared = self._schema[name]
        stored = storable(values, declared.kind)
        kind = h5py.string_dtype() if declared.kind == "text" else stored.dtype
        self._describe(self.file.create_dataset(name, data=stored, dtype=kind, track_times=False, **options), declared)

    def allocate(self, name: str, shape: Sequence[int], dtype: str | None = None, **options: Any) -> h5py.Dataset:
        """Add a field that is filled later, part by part; `dtype` may store scores in less room (float16)."""
        declared = self._schema[name]
        created = self.file.create_dataset(name, tuple(shape), dtype or declared.kind, track_times=False, **options)
        self._describe(created, declared)
        return created

    def join(self, name: str, sources: Sequence[h5py.Dataset]) -> None:
        """Add a field that joins other files' datasets along their `row` axis, without copying them."""
        axis = self._schema[name].axes.index("row")
        shape = list(sources[0].shape)
        shape[axis] = sum(source.shape[axis] for source in sources)
        laid, start = [], 0
        for source in sources:
            stop = start + source.shape[axis]
            laid.append(Laid(source, ..., (slice(None),) * axis + (slice(start, stop),)))
            start = stop
        self.lay(name, shape, laid)

    def lay(self, name: str, shape: Sequence[int], parts: Sequence["Laid"], fill: int | None = None) -> None:
        """Add a field of parts of other files' datasets, without copying them, and `fill` where there are none.

        The files are named relative to this one's folder, so that a folder of results can be moved.
        """
        layout = h5py.VirtualLayout(tuple(shape), parts[0].source.dtype)
        for part in parts:
            where = relpath(part.source.file.filename, self._folder)  # HDF5 looks for it from this file's folder
            source = h5py.VirtualSource(where, part.source.name.lstrip("/"), part.source.shape)
            layout[part.place] = source[part.taken]
        layout.dcpl.set_obj_track_times(False)
        self._describe(self.file.create_virtual_dataset(name, layout, fillvalue=fill), self._schema[name])

    def finish(self) -> None:
        """Hold the file against its schema."""
        self._schema.check_names(self.file)
        self._schema.check_shapes({name: self.file[name].shape for name in self.file})
        if missing := [name for name in self._schema.attributes if name not in self.file.attrs]:
            raise ValueError(f"{self._schema.path} lacks the attributes {', '.join(missing)}")

    @staticmethod
    def _describe(created: h5py.Dataset, declared: Field) -> None:
        created.attrs["dims"] = declared.dims
        created.attrs["unit"] = declared.unit
        created.attrs["description"] = declared.description


@contextmanager
def create(path: str | Path, schema: Schema, attributes: Mapping[str, Any]) -> Iterator[Writer]:
    """Open a new file for streaming writes; it appears under `path` only when the block succeeds.

    Raises
    ------
    ValueError
        If what was written is not what the schema declares.
    """
    with replacing(path) as temporary:
        with _system_errors(), h5py.File(temporary, "w", track_order=True) as file:
            file.attrs["version"] = __version__
            for key, value in attributes.items():
                file.attrs[key] = value
            writer = Writer(file, schema, Path(path).parent)
            yield writer
            writer.finish()
        seal(temporary)


@contextmanager
def _system_errors() -> Iterator[None]:
    """Raise as an OSError what the system refused and HDF5 noticed only when it closed the file: a full disk, say."""
    try:
        yield
    except RuntimeError as error:
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), str(error).splitlines()[0]) from error


def write(path: str | Path, schema: Schema, values: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Write a whole file at once: the values of the schema's fields, by name."""
    with create(path, schema, attributes) as writer:
        for name, some in values.items():
            writer.add(name, some)


class Attributes(dict[str, Any]):
    """A file's root attributes; one that is asked for and not there is named, with the file."""

    def __init__(self, path: Path, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, name: str) -> Any:
        raise DamagedFileError(self._path, f"has no attribute {name!r}")


@dataclass(frozen=True)
class Table:
    """All datasets of a file as numpy arrays (texts as object arrays of str), and its root attributes."""

    path: Path
    datasets: dict[str, np.ndarray]
    attributes: dict[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.datasets:
            raise DamagedFileError(self.path, f"holds no dataset {name!r}")
        return self.datasets[name]


def read(path: str | Path, schema: Schema | None = None) -> Table:
    """Read a whole file.

    Parameters
    ----------
    schema
        What the file must hold; by default, whatever is in the form in which `Writer` writes.

    Raises
    ------
    UserError
        If the file is missing, damaged, or holds something else; the message names it.
    """
    with opened(path, schema) as file:
        try:
            datasets = {name: loaded(file[name]) for name in file}
        except UnicodeDecodeError as error:
            raise DamagedFileError(path, f"holds a text that is not in UTF-8 ({error})") from error
        return Table(Path(path), datasets, Attributes(Path(path), file.attrs))


@contextmanager
def opened(path: str | Path, schema: Schema | None = None) -> Iterator[h5py.File]:
    """Open a file for reading; a missing or damaged one, or one that it looks into, is named in a UserError.

    So is one that holds something else than `schema` says, where that is given.
    """
    try:
        sound = is_sound(Path(path))
    except OSError as error:
        raise DamagedFileError(path, f"cannot be read ({error.strerror})") from error
    if not sound:
        raise DamagedFileError(path, "is damaged: its content is not what was written")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise DamagedFileError(path, f"cannot be read as HDF5 ({error})") from error
    with file:
        _check_form(file, path, schema)
        _check_sources(file)
        yield file


def loaded(dataset: h5py.Dataset) -> np.ndarray:
    """Return a dataset's values; texts as an object array of str."""
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[()], dtype=object)
    return np.asarray(dataset[()])


def _check_form(file: h5py.File, path: str | Path, schema: Schema | None) -> None:
    """Refuse a file that `Writer` cannot have written, or not for this schema."""
    fields = {name: file[name] for name in file if file.get(name, getclass=True) is h5py.Dataset}
    try:
        if len(fields) != len(file):
            raise ValueError("it holds what is no dataset")
        dims = {name: str(field.attrs.get("dims", "no dims")) for name, field in fields.items()}
        Schema(str(path), "", {name: Field(axes, "text", "", "") for name, axes in dims.items()}).check_shapes(
            {name: field.shape for name, field in fields.items()}
        )
        if schema is not None:
            _check_schema(file, fields, dims, schema)
    except (ValueError, OSError, RuntimeError) as error:
        raise DamagedFileError(path, f"is not what its reader needs ({error})") from error


def _check_schema(file: h5py.File, fields: Mapping[str, h5py.Dataset], dims: Mapping[str, str], schema: Schema) -> None:
    schema.check_names(fields)
    for name, field in fields.items():
        declared = schema[name]
        if dims[name] != declared.dims or not _is_of_kind(field.dtype, declared.kind):
            raise ValueError(f"{name} is {field.dtype} of the axes {dims[name]}")
    if missing := [name for name in schema.attributes if name not in file.attrs]:
        raise ValueError(f"it lacks the attributes {', '.join(missing)}")


def _is_of_kind(dtype: np.dtype, kind: str) -> bool:
    """Return whether values are stored as those of a field's kind; scores may be stored in less room."""
    if kind == "text":
        return h5py.check_string_dtype(dtype) is not None
    return bool(dtype.kind == {"float32": "f", "float64": "f", "int32": "i", "int64": "i", "bool": "b"}[kind])


def _check_sources(file: h5py.File) -> None:
    """Refuse a file whose virtual datasets lack a source; HDF5 would answer with fill values."""
    virtual = (file[name] for name in file if isinstance(file[name], h5py.Dataset) and file[name].is_virtual)
    for path in sorted({source.file_name for dataset in virtual for source in dataset.virtual_sources()}):
        with opened(Path(file.filename).parent / path):
            pass


def seal(path: Path) -> None:
    """Write the SHA-256 of a file behind its content."""
    with path.open("r+b") as file:
        file.write(SEAL + file_digest(file, "sha256").hexdigest().encode())


def is_sound(path: Path) -> bool:
    """Say whether a file's content is that of its seal; a file that has not changed is verified once per process."""
    found = path.stat()
    return _verified(path.resolve(), found.st_ino, found.st_size, found.st_mtime_ns)


@cache
def _verified(path: Path, _inode: int, size: int, _mtime: int) -> bool:
    size -= len(SEAL) + 64
    digest = sha256()
    with path.open("rb") as file:
        while part := file.read(max(0, min(1 << 20, size - file.tell()))):
            digest.update(part)
        return file.read() == SEAL + digest.hexdigest().encode()
