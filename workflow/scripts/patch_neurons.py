"""Patch each neuron of consecutive layers."""

from pathlib import Path

from an_neuron.jobs.claims import claimed
from an_neuron.jobs.job import job
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.patching.changed_products import chosen_precision
from an_neuron.patching.layers import named_layers
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweep_files import write_neurons
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        layers = named_layers(snakemake.wildcards.layers)
        prompts, table = read_prompts(snakemake.input.prompts)
        model = load_model(Path(snakemake.params.folder), claimed(kind(snakemake.resources.device)))
        metric = LogitDifference(prompts.answer, prompts.foil)
        precision = chosen_precision(snakemake.params.precision, model)
        sweep = patch_neurons(model, prompts.prompt_pairs, metric, layers, precision=precision)
        attributes = {**snakemake.params.attributes, **token_attributes(table)}
        write_neurons(snakemake.output[0], sweep, layers, attributes)
