"""Write a study's circuit as a page beside that of its finding."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.page.circuit_page import write_circuit_page

NO_RESULTS = ("library", "templates", "plotly")

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        files = {name: Path(path) for name, path in snakemake.input.items() if name not in NO_RESULTS}
        write_circuit_page(Path(snakemake.output[0]), files, snakemake.params.formats, Path(snakemake.input.plotly))
