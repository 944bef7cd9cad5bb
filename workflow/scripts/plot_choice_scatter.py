"""Plot the difference of the answer's and the foil's logit against a neuron's activation."""

from functools import partial

from an_neuron.figures.choice import choice_scatter_fig
from an_neuron.figures.export import save_figure
from an_neuron.files.hdf5 import read
from an_neuron.jobs.job import job

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        save_figure(partial(choice_scatter_fig, read(snakemake.input[0])), snakemake.output)
