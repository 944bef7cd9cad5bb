"""Which layers the files of a sweep over neurons hold: consecutive ones each."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from an_neuron.files.hdf5 import Table


def divided(layers: Iterable[int], parts: int) -> list[range]:
    """Divide the layers of a sweep among jobs: consecutive layers each, and about equally many.

    Parameters
    ----------
    layers
        The layers that are swept, each once.
    parts
        How many jobs are wanted. There are more where layers are not consecutive, fewer where there are too few.
    """
    wanted = sorted(layers)
    starts = [number for number, layer in enumerate(wanted) if not number or layer != wanted[number - 1] + 1]
    cuts = {len(wanted) * part // parts for part in range(parts)}
    edges = [*sorted({*starts, *cuts}), len(wanted)]
    return [range(wanted[start], wanted[end - 1] + 1) for start, end in pairwise(edges)]


def named(layers: Sequence[int]) -> str:
    """Return the name of a file's consecutive layers: `0-29`."""
    return f"{layers[0]}-{layers[-1]}"


def named_layers(name: str) -> range:
    """Return the layers of a file's name: the first, to the last."""
    first, last = map(int, name.split("-"))
    return range(first, last + 1)


def of_layer(table: "Table", layer: int) -> "np.ndarray":
    """Return a layer's recovery, [d_mlp], out of the table of consecutive layers."""
    return table["recovery"][layer - int(table["layer"][0])]
