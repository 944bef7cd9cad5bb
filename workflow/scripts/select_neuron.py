"""Choose the neuron of the largest recovery in all swept layers."""

from an_neuron.job import job
from an_neuron.selection import select_neuron

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        select_neuron(snakemake.input.sweeps, snakemake.output[0])
