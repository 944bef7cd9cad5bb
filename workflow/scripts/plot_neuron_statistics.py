"""Plot how often every neuron fires over the corpus, against the tail of its activations."""

from functools import partial

from an_neuron.jobs.job import job
from an_neuron.figures.export import save_figure
from an_neuron.figures.neuron_statistics import neuron_statistics_fig
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        neurons, studied = (read(path) for path in snakemake.input[:2])
        save_figure(partial(neuron_statistics_fig, neurons, studied.attributes), snakemake.output)
