"""Plot the recovery of each site by layer and position."""

from an_neuron.jobs.job import job
from an_neuron.figures.export import save_figures
from an_neuron.figures.patching import patched_site_fig
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        tables = [read(path) for path in snakemake.input.tables]
        save_figures([patched_site_fig(table) for table in tables], snakemake.output)
