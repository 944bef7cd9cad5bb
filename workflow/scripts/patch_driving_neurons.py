"""Patch the neurons below the studied one that attribution ranks first, and measure its activation."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.patching.drivers import drive_by_neurons, write_driving_neurons
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import NeuronActivation
from an_neuron.patching.selection import read_neuron
from an_neuron.prompts.tokens import read_prompts

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        prompts, _ = read_prompts(snakemake.input.prompts)
        layer, index = snakemake.params.neuron or read_neuron(snakemake.input.neuron)
        engine = Engine(load_model(Path(snakemake.params.folder), claimed(kind(snakemake.resources.device))))
        driving = drive_by_neurons(engine, prompts.prompt_pairs, NeuronActivation(layer, index=index))
        attributes = {**snakemake.params.attributes, "neuron_layer": layer, "neuron_index": index}
        write_driving_neurons(Path(snakemake.output[0]), driving, attributes)
