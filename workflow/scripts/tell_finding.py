"""Say in sentences what a study found, and what of it is weak."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.atomic import write_text
from an_neuron.patching.selection import read_neuron
from an_neuron.study.finding import finding

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        given = {name: Path(path) for name, path in snakemake.input.items() if name not in ("library", "neuron")}
        neuron = snakemake.params.neuron or read_neuron(snakemake.input.neuron)
        write_text(snakemake.output[0], finding(given, *neuron))
