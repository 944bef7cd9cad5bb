"""Patch each neuron of a layer."""

from pathlib import Path

from an_neuron.devices import pick
from an_neuron.job import job
from an_neuron.models import load_model
from an_neuron.patching import LogitDifference, patch_neurons
from an_neuron.prompts import read_prompts, token_attributes
from an_neuron.tables import write_sweep

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        layer = int(snakemake.wildcards.layer)
        prompts, table = read_prompts(snakemake.input.prompts)
        model = load_model(Path(snakemake.params.folder), pick(snakemake.resources.device))
        metric = LogitDifference(prompts.answer, prompts.foil)
        sweep = patch_neurons(model, prompts.pairs, metric, [layer]).of_layer(0)
        attributes = {**snakemake.params.attributes, **token_attributes(table), "layer": layer}
        write_sweep(snakemake.output[0], sweep, ("d_mlp",), attributes)
