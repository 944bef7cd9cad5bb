"""Plot the answer's congruence with every neuron."""

from functools import partial

from an_neuron.jobs.job import job
from an_neuron.figures.every_neuron import answer_dot_neurons_fig
from an_neuron.figures.export import save_figure
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        answer, studied = (read(path) for path in snakemake.input[:2])
        neuron = int(studied.attributes["layer"]), int(studied.attributes["index"])
        save_figure(partial(answer_dot_neurons_fig, answer, neuron), snakemake.output)
