"""What `snakemake NAME_circuit` adds to a study, as a page beside that of its finding."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from an_neuron.files import hdf5
from an_neuron.files.schema import Schema
from an_neuron.files.texts import neuron_name
from an_neuron.page.results import Results
from an_neuron.page.sectioned import Sections, quoted_answer, write_sectioned
from an_neuron.page.sections.ablation import ablation_section
from an_neuron.page.sections.checked import checked_section
from an_neuron.page.sections.circuit import below_section, circuit_section, lead
from an_neuron.page.sections.together import dose_section, together_section

CIRCUIT_PAGE = Schema("circuit.html", "the circuit as a page, beside that of the finding, in the same way")
SECTIONS: Sections = {
    "circuit": circuit_section,
    "below": below_section,
    "dose": dose_section,
    "together": together_section,
    "ablation": ablation_section,
    "checked": checked_section,
}


def write_circuit_page(path: Path, files: Mapping[str, Path], formats: Sequence[str], plotly: Path) -> None:
    """Write the page of a study's circuit; the same files give the same bytes.

    Parameters
    ----------
    path
        The page.
    files
        circuit/circuit.h5 by the name circuit, and by the names by which sections ask for them those that there are.
    formats
        Those of the figures.
    plotly
        plotly.js, which the page loads from where it lies.
    """
    table = hdf5.read(files["circuit"])
    of = table.attributes
    neuron = int(of["neuron_layer"]), int(of["neuron_index"])
    results = Results(files, neuron, path.parent, formats)
    title = f"The circuit of neuron {neuron_name(*neuron)}, behind {quoted_answer(of)}"
    said = {"title": title, "study": str(of["study"]), "model": str(of["model"]), "sentences": [lead(table)]}
    write_sectioned(path, "circuit.html", results, plotly, SECTIONS, **said)
