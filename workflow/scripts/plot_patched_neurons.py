"""Plot the recovery of each neuron of the studied layer."""

from functools import partial

from an_neuron.jobs.job import job
from an_neuron.figures.export import save_figure
from an_neuron.figures.patching import patched_neuron_fig
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        figure = partial(patched_neuron_fig, read(snakemake.input.sweep), snakemake.params.layer)
        save_figure(figure, snakemake.output)
