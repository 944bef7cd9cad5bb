"""Write a study's finding as one page."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.page.results import Results
from an_neuron.page.study_page import write_study_page
from an_neuron.patching.selection import read_neuron

NO_RESULTS = ("library", "templates", "plotly", "neuron")


def paths(given):
    return Path(given) if isinstance(given, str) else [Path(path) for path in given]


if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        files = {name: paths(given) for name, given in snakemake.input.items() if name not in NO_RESULTS}
        neuron = snakemake.params.neuron or read_neuron(snakemake.input.neuron)
        page = Path(snakemake.output[0])
        results = Results(files, neuron, page.parent, snakemake.params.formats)
        write_study_page(page, results, Path(snakemake.input.plotly))
