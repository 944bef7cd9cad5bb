"""List the places of the corpus at which an association's neuron is most active."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.examples import examples_frame, write_examples_html
from an_neuron.files.atomic import write_csv
from an_neuron.files.hdf5 import read

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        table = read(snakemake.input[0])
        write_csv(snakemake.output.csv, examples_frame(table))
        write_examples_html(table, Path(snakemake.output.html))
