"""What a result file holds, declared once: it is checked against this when written, and the docs' tables come from it.

NEURONS = Schema(
"patching/neurons/layers_{layers}.h5",
"recovery of each neuron of a layer",
{"recovery": Field("d_mlp", "float32", "1", "0 = as the corrupted prompt, 1 = as the clean one")},
{"layer": "the layer whose neurons were patched"},
)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

KINDS = ("float32", "float64", "int32", "int64", "bool", "text")


@dataclass(frozen=True)
class Field:
    """A dataset of an HDF5 file, or a column of a CSV file.

    Attributes
    ----------
    dims
        Names of the axes, separated by spaces; fields of a file that share a name share that axis' length.
    kind
        How values are stored: float32 for scores, float64 for sums, int32 for ids, int64 for counts, bool, or text
        (UTF-8).
    unit
        "" for numbers without one.
    description
        One line.
    optional
        Whether a file may lack it.
    """

    dims: str
    kind: str
    unit: str
    description: str
    optional: bool = False

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes' names."""
        return tuple(self.dims.split())


@dataclass(frozen=True)
class Schema:
    """A result file: its place, its meaning, and what is in it.

    Attributes
    ----------
    path
        Below the study's folder of results, with the rules' wildcards in braces.
    description
        One line.
    fields
        Datasets or columns, in their order; none for texts and pages.
    attributes
        What the root attributes say, besides study, model, revision, dtype and version, which every HDF5 file has.
    """

    path: str
    description: str
    fields: Mapping[str, Field] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, declared in self.fields.items():
            if declared.kind not in KINDS:
                raise ValueError(f"{self.path}: {name} is declared as {declared.kind!r}, not one of {KINDS}")

    def __getitem__(self, name: str) -> Field:
        if name not in self.fields:
            raise ValueError(f"{self.path} has no field {name!r}; its schema declares {', '.join(self.fields)}")
        return self.fields[name]

    def n_bytes(self, **lengths: int) -> int:
        """Return how many bytes a file's fields take at least: those of numbers all of whose axes' lengths are given.

        Fields are not compressed, unless whoever writes them says so.
        """
        numbers = [one for one in self.fields.values() if one.kind != "text" and {*one.axes} <= {*lengths}]
        return sum(prod(lengths[axis] for axis in one.axes) * _size(one.kind) for one in numbers)

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse a file that lacks a field, or has one that is not declared."""
        given = set(names)
        for name in given:
            self[name]
        if missing := [name for name, one in self.fields.items() if not one.optional and name not in given]:
            raise ValueError(f"{self.path} lacks {', '.join(missing)}")

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Refuse fields with another number of axes than declared, and axes of one name and several lengths."""
        lengths: dict[str, int] = {}
        for name, shape in shapes.items():
            axes = self[name].axes
            if len(axes) != len(shape):
                raise ValueError(f"{self.path}: {name} has {len(shape)} axes, but dims {axes}")
            for axis, length in zip(axes, shape, strict=True):
                if lengths.setdefault(axis, length) != length:
                    raise ValueError(f"{self.path}: axis {axis} has {lengths[axis]} places, but {length} in {name}")


def _size(kind: str) -> int:
    return np.dtype(kind).itemsize


def storable(values: object, kind: str) -> np.ndarray:
    """Convert tensors, lists and arrays to a numpy array of a field's kind; texts become objects."""
    if hasattr(values, "detach"):
        tensor = values.detach().cpu()
        values = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if kind == "text":
        return _texts(np.asarray(values, dtype=object))
    array = np.asarray(values)
    if kind.startswith("int"):
        stored = array.astype(kind)
        if (stored != array).any():
            raise ValueError(f"{array.max()} or {array.min()} does not fit into {kind}")
        return stored
    return array.astype(kind)


def _texts(array: np.ndarray) -> np.ndarray:
    """Return texts as objects; NUL, which GPT-2 has a token for and HDF5 cannot store, becomes its symbol."""
    flat = [str(text).replace("\0", "\N{SYMBOL FOR NULL}") for text in array.ravel()]
    return np.array([*flat, None], dtype=object)[:-1].reshape(array.shape)
