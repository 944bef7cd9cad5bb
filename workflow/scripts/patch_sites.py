"""Patch each site at each layer and position."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweep_files import SITE, write_sweep
from an_neuron.patching.sweeps import patch_sites
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        prompts, table = read_prompts(snakemake.input.prompts)
        model = load_model(Path(snakemake.params.folder), claimed(kind(snakemake.resources.device)))
        metric = LogitDifference(prompts.answer, prompts.foil)
        sweeps = patch_sites(model, prompts.prompt_pairs, metric, list(snakemake.output.keys()))
        tokens = {name: table[name] for name in ("clean_token", "corrupted_token")}
        attributes = {**snakemake.params.attributes, **token_attributes(table)}
        for site, sweep in sweeps.items():
            write_sweep(snakemake.output[site], SITE, sweep, {**attributes, "site": site}, **tokens)
