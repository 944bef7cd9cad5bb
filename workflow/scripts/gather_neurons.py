"""Gather what the shards of a corpus pass hold of every neuron."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.neuron_gathering import gather_neurons

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        shards = [Path(path) for path in snakemake.input.shards]
        gather_neurons(Path(snakemake.output[0]), shards, snakemake.params.attributes)
