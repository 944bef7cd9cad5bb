"""Patch each neuron of consecutive layers."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.atomic import check_room
from an_neuron.files.hdf5 import read
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.folder import read_shape
from an_neuron.model.loading import load_model
from an_neuron.patching.changed_products import chosen_precision
from an_neuron.patching.layers import named_layers
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.screened import EVERY, read_screened
from an_neuron.patching.screening import patch_screened
from an_neuron.patching.sweep_files import NEURONS, write_neurons
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        layers = named_layers(snakemake.wildcards.layers)
        prompts, table = read_prompts(snakemake.input.prompts)
        folder, n_pairs = Path(snakemake.params.folder), len(prompts.prompt_pairs)
        written = {"layer": len(layers), "d_mlp": read_shape(folder).d_mlp, "prompt_pair": n_pairs}
        check_room(snakemake.output[0], NEURONS.n_bytes(**written))
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        swept = model, prompts.prompt_pairs, LogitDifference(prompts.answer, prompts.foil), layers
        if chosen := snakemake.input.get("screened"):
            screened = read_screened(read(chosen)).within(layers)
            sweep = patch_screened(*swept, screened)
        else:
            screened = EVERY
            sweep = patch_neurons(*swept, precision=chosen_precision(snakemake.params.precision, model))
        attributes = {**snakemake.params.attributes, **token_attributes(table)}
        write_neurons(snakemake.output[0], sweep, layers, attributes, screened)
