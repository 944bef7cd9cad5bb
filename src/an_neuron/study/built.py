"""Which studies are built, as far as comparing their neurons takes; asked while Snakemake plans, and builds nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from an_neuron.errors import UserError
from an_neuron.patching.layers import divided, named
from an_neuron.patching.selection import read_neuron
from an_neuron.study.finding import read_finding
from an_neuron.study.study import Study


@dataclass(frozen=True)
class Built:
    """A study whose neuron is known and whose neurons are mapped.

    Attributes
    ----------
    layer, index
        The studied neuron.
    n_layers
        Of the model.
    map
        The map of all neurons' recovery.
    sweep
        The sweep with the neuron's layer, which tells the prompt pairs apart.
    files
        What a comparison depends on: these two, and the file that names the neuron where the sweep chose it.
    finding
        The first sentence of its finding, "" where that is not told yet.
    page
        Its page, "" where that is not written yet.
    """

    study: str
    layer: int
    index: int
    n_layers: int
    map: str
    sweep: str
    files: list[str]
    finding: str
    page: str


def all_built(studies: Iterable[Study], sweeps: int) -> list[Built]:
    """Return what there is of the studies that are built, in their order.

    Parameters
    ----------
    studies
        The studies of the configuration.
    sweeps
        The number of jobs into which a sweep over neurons is divided.
    """
    return [found for study in studies if (found := built(study, sweeps))]


def built(study: Study, sweeps: int) -> Built | None:
    """Return what there is of a study; None if it is not built.

    A map without the model or the sweeps that it was made of counts as none: Snakemake would make it again.
    """
    choice = Path(study.results) / "neuron.json"
    if study.neuron is None and not choice.exists():
        return None
    try:
        shape = study.shape()
    except UserError:  # the model is not there
        return None
    layer, index = study.neuron or read_neuron(choice)
    parts = divided(study.swept_layers(shape), sweeps)
    own = next((part for part in parts if layer in part), [layer])  # swept also where it is not listed
    folder = Path(study.results) / "patching" / "neurons"
    needed = [folder / "map.h5", *(folder / f"layers_{named(part)}.h5" for part in (own, *parts))]
    if not all(path.exists() for path in needed):
        return None
    files = [str(path) for path in (*needed[:2], *([] if study.neuron else [choice]))]
    told, page = (Path(study.results) / name for name in ("finding.txt", "index.html"))
    finding = read_finding(told)[0][0] if told.exists() else ""
    return Built(
        study.name, layer, index, shape.n_layers, files[0], files[1], files, finding, str(page) if page.exists() else ""
    )
