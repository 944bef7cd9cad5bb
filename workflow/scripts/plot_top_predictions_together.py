"""Plot the proportion of top predictions by activation of several associations together."""

from an_neuron.jobs.job import job
from an_neuron.figures.export import save_figure
from an_neuron.figures.top_predictions_together import top_predictions_together_fig
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        tables = [read(path) for path in snakemake.input if path.endswith(".h5")]
        save_figure(top_predictions_together_fig(tables), snakemake.output)
