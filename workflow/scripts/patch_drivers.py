"""Patch sites and heads, and measure the studied neuron's activation: what drives it."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.patching.drivers import drive
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import NeuronActivation
from an_neuron.patching.selection import read_neuron
from an_neuron.patching.sweep_files import DRIVING_HEADS, DRIVING_SITE, write_sweep
from an_neuron.prompts.tokens import read_prompts

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        prompts, table = read_prompts(snakemake.input.prompts)
        layer, index = snakemake.params.neuron or read_neuron(snakemake.input.neuron)
        engine = Engine(load_model(Path(snakemake.params.folder), claimed(kind(snakemake.resources.device))))
        metric, output = NeuronActivation(layer, index=index), snakemake.output
        attributes = {**snakemake.params.attributes, "neuron_layer": layer, "neuron_index": index}
        tokens = {name: table[name] for name in ("clean_token", "corrupted_token")}
        sites, heads = drive(engine, prompts.prompt_pairs, metric, snakemake.params.sites, snakemake.params.head_sites)
        for site, sweep in sites.items():
            write_sweep(output[site], DRIVING_SITE, sweep, {**attributes, "site": site}, **tokens)
        for site, sweep in heads.items():
            write_sweep(output[site], DRIVING_HEADS, sweep, {**attributes, "site": site})
