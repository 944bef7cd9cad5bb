"""Plot how well a neuron's activation predicts a token: the proportion of top predictions, precision and recall."""

from functools import partial

from an_neuron.jobs.job import job
from an_neuron.figures.export import save_figures
from an_neuron.figures.precision_recall import precision_recall_fig
from an_neuron.figures.top_predictions import top_prediction_fig
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        table = read(snakemake.input.tables[0])
        save_figures([partial(top_prediction_fig, table), partial(precision_recall_fig, table)], snakemake.output)
