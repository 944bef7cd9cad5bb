"""Plot by how much the model's loss changes over the corpus without the studied neuron."""

from an_neuron.jobs.job import job
from an_neuron.corpus.ablations import LOSSES
from an_neuron.figures.ablation import ablation_fig
from an_neuron.figures.export import save_figure
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        save_figure(ablation_fig(read(snakemake.input[0], LOSSES)), snakemake.output)
