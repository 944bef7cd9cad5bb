"""Rank the mutual best matches of token and neuron by how distinctive they are."""

from an_neuron.jobs.job import job
from an_neuron.congruence.exclusive import write_exclusive
from an_neuron.files.hdf5 import read

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        best = read(snakemake.input.neurons), read(snakemake.input.tokens)
        write_exclusive(snakemake.output[0], *best, snakemake.params.attributes)
