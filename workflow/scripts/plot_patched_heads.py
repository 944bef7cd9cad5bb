"""Plot the recovery of each site of every attention head."""

from an_neuron.jobs.job import job
from an_neuron.figures.export import save_figures
from an_neuron.figures.patching import patched_heads_fig
from an_neuron.figures.style import largest_size
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        tables = [read(path) for path in snakemake.input.tables]
        limit = max(largest_size(table["recovery"]) for table in tables)
        save_figures([patched_heads_fig(table, limit) for table in tables], snakemake.output)
