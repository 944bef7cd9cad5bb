"""Fetch a model from the Hugging Face hub."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.model.hub import fetch_model

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        source = snakemake.params.source
        fetch_model(source["hub"], source["revision"], Path(snakemake.output[0]).parent)
