"""Plot the circuit, what its nodes do together, and the studied neuron's dose and response."""

from an_neuron.jobs.job import job
from an_neuron.figures.circuit import circuit_fig
from an_neuron.figures.curves import curves_fig
from an_neuron.figures.dose_response import dose_response_fig
from an_neuron.figures.driving_neurons import driving_neurons_fig
from an_neuron.figures.export import save_figures
from an_neuron.files.hdf5 import read
from an_neuron.files.look import looking

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input), looking(**snakemake.params.look):
        circuit, recovery, faithfulness, dose_response, neurons = map(read, snakemake.input.tables)
        figures = [
            circuit_fig(circuit),
            curves_fig(recovery, "recovery"),
            curves_fig(faithfulness, "faithfulness"),
            dose_response_fig(dose_response),
            driving_neurons_fig(neurons),
        ]
        save_figures(figures, snakemake.output)
