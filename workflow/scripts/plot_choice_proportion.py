"""Plot how often the answer is chosen over the foil, by bin of a neuron's activation."""

from an_neuron.figures.choice import choice_proportion_fig
from an_neuron.figures.export import save_figure
from an_neuron.files.hdf5 import read
from an_neuron.jobs.job import job

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        save_figure(choice_proportion_fig(read(snakemake.input[0])), snakemake.output)
