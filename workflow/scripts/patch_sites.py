"""Patch one site at each layer and position."""

from pathlib import Path

from an_neuron.devices import pick
from an_neuron.hdf5 import Dataset
from an_neuron.job import job
from an_neuron.models import load_model
from an_neuron.patching import patch_site
from an_neuron.prompts import read_prompts, token_attributes
from an_neuron.tables import write_sweep

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.threads):
        prompts, table = read_prompts(snakemake.input.prompts)
        model = load_model(Path(snakemake.params.folder), pick(snakemake.resources.device))
        sweep = patch_site(model, prompts.pairs, snakemake.wildcards.site, prompts.answer, prompts.foil)
        tokens = {
            f"{kind}_token": Dataset(table[f"{kind}_token"], ("pair", "pos"), "", f"tokens of {kind} prompts")
            for kind in ("clean", "corrupted")
        }
        attributes = {**snakemake.params.attributes, **token_attributes(table), "site": snakemake.wildcards.site}
        write_sweep(snakemake.output[0], sweep, ("layer", "pos"), attributes, **tokens)
