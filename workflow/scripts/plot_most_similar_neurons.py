"""Plot how far each token's best neuron is ahead of its second."""

from functools import partial

from an_neuron.jobs.job import job
from an_neuron.figures.congruence import most_similar_neurons_fig
from an_neuron.figures.export import save_figure
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        save_figure(partial(most_similar_neurons_fig, read(snakemake.input[0])), snakemake.output)
