"""Plot the recovery of every neuron of the model."""

from functools import partial

from an_neuron.export import save_figure
from an_neuron.hdf5 import read
from an_neuron.job import job
from an_neuron.model_figures import neuron_map_fig

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        save_figure(partial(neuron_map_fig, read(snakemake.input[0])), snakemake.output)
