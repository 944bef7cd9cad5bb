"""Download a book; the studies of its URL share it."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.download import download

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        source = snakemake.params.source
        download(source["url"], Path(snakemake.output[0]), source.get("sha256"))
