"""Fetch the files of a dataset's split; the studies of it share them."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.dataset import fetch_dataset

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        fetch_dataset(snakemake.params.source, Path(snakemake.output[0]).parent)
