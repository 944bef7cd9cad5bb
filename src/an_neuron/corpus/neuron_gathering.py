"""Gathering what the shards of a corpus pass hold of every neuron: activations/neurons.h5."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py

from an_neuron.corpus.gathering import whole_pass
from an_neuron.corpus.neuron_files import NEURONS
from an_neuron.corpus.neuron_statistics import COLUMNS, N_PLACES, PLACE_COLUMNS, QUANTILES, NeuronStatistics
from an_neuron.errors import DamagedFileError
from an_neuron.files import hdf5
from an_neuron.files.atomic import check_room
from an_neuron.files.hdf5 import loaded


def gather_neurons(path: Path, shards: Sequence[Path], attributes: Mapping[str, Any]) -> None:
    """Write activations/neurons.h5.

    Parameters
    ----------
    path
        The file.
    shards
        The shards of a pass that watched every neuron of some layers.
    attributes
        Root attributes.

    Raises
    ------
    FullDiskError
        If the disk has no room for the file, before anything is read.
    DamagedFileError
        If the shards do not follow upon one another, or did not watch the same layers, or none.
    """
    with ExitStack() as stack:
        files = whole_pass(stack, shards)
        n_layers, d_mlp = files[0]["neuron_least"].shape if "neuron_least" in files[0] else (0, 0)
        sizes = {"layer": n_layers, "d_mlp": d_mlp, "quantile": len(QUANTILES), "place": N_PLACES}
        check_room(path, NEURONS.n_bytes(**sizes))
        layers, origin = _watched(files), {name: files[0].attrs[name] for name in ("signed", "precision")}
        statistics = _read(files[0])
        for file in files[1:]:
            statistics.merge(_read(file))
    values = {
        "layer": layers,
        **statistics.described(bool(origin["signed"])),
        "quantile_level": QUANTILES,
        **{f"place_{name}": getattr(statistics, name) for name in PLACE_COLUMNS},
    }
    hdf5.write(path, NEURONS, values, {**attributes, **origin, "n_tokens": statistics.n_tokens})


def _watched(files: Sequence[h5py.File]) -> list[int]:
    """Return the layers that all shards watched."""
    watched = [tuple(file["neuron_layer"][:].tolist()) if "neuron_layer" in file else () for file in files]
    if len(set(watched)) != 1 or not watched[0]:
        raise DamagedFileError(
            Path(files[0].filename).parent, "has shards that did not watch neurons of the same layers"
        )
    return list(watched[0])


def _read(file: h5py.File) -> NeuronStatistics:
    return NeuronStatistics(*(loaded(file[f"neuron_{name}"]) for name in COLUMNS))
