"""Describe the choice between answer and foil, where one of them is to be expected in the corpus."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.choice import describe_choice, write_choice

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        described = describe_choice(Path(snakemake.input.gathered))
        write_choice(Path(snakemake.output[0]), described, snakemake.params.attributes)
