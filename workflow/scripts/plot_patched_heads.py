"""Plot the recovery of every attention head."""

from an_neuron.export import save_figure
from an_neuron.hdf5 import read
from an_neuron.job import job
from an_neuron.model_figures import patched_heads_fig

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        save_figure(patched_heads_fig(read(snakemake.input[0])), snakemake.output)
