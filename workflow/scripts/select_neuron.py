"""Choose the neuron of the largest recovery in all swept layers."""

from an_neuron.jobs.job import job
from an_neuron.patching.selection import select_neuron

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        select_neuron(snakemake.input.sweeps, snakemake.output[0])
