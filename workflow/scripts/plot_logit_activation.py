"""Plot a token's margin against a neuron's activation over the corpus."""

from functools import partial
from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.recordings import read_association
from an_neuron.figures.density import density_fig
from an_neuron.figures.export import save_figure
from an_neuron.figures.scatter import logit_activation_fig
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        if summary := snakemake.input.get("summary"):
            figure = partial(density_fig, read(summary))
        else:
            association = read_association(Path(snakemake.input.gathered), snakemake.wildcards.association)
            figure = partial(logit_activation_fig, association)
        save_figure(figure, snakemake.output)
