"""Plot what patching a site by layer and position does to the studied neuron."""

from an_neuron.figures.export import save_figure
from an_neuron.figures.patching import patched_site_fig
from an_neuron.files.hdf5 import read
from an_neuron.jobs.job import job

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        save_figure(patched_site_fig(read(snakemake.input[0])), snakemake.output)
