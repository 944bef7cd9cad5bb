"""Plot a token's margin against a neuron's activation over the corpus."""

from functools import partial
from pathlib import Path

from an_neuron.activations import read_pair
from an_neuron.export import save_figure
from an_neuron.figures import logit_activation_fig
from an_neuron.hdf5 import read
from an_neuron.job import job
from an_neuron.pair_figures import density_fig

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        if summary := snakemake.input.get("summary"):
            figure = partial(density_fig, read(summary))
        else:
            pair = read_pair(Path(snakemake.input.gathered), snakemake.wildcards.pair)
            figure = partial(logit_activation_fig, pair)
        save_figure(figure, snakemake.output)
