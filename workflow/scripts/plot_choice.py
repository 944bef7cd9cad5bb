"""Plot the choice between answer and foil against a neuron's activation: every place, and the share by bin."""

from functools import partial

from an_neuron.jobs.job import job
from an_neuron.figures.choice import choice_proportion_fig, choice_scatter_fig
from an_neuron.figures.export import save_figures
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        tables = [read(path) for path in snakemake.input.tables]
        save_figures([partial(choice_scatter_fig, tables[0]), choice_proportion_fig(tables[1])], snakemake.output)
