"""Plot the recovery of each study's neuron over its depth in the model."""

from an_neuron.jobs.job import job
from an_neuron.figures.comparison import comparison_fig, read_comparison
from an_neuron.figures.export import save_figure

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        save_figure(comparison_fig(read_comparison(snakemake.input[0])), snakemake.output)
