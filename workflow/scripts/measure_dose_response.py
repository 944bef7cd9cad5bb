"""Measure the logit difference with the studied neuron's activation set to one value after the other."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model
from an_neuron.patching.dose_response import respond, write_dose_response
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.rows import Node
from an_neuron.patching.selection import read_neuron
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        prompts, table = read_prompts(snakemake.input.prompts)
        layer, index = snakemake.params.neuron or read_neuron(snakemake.input.neuron)
        engine = Engine(load_model(Path(snakemake.params.folder), claimed(kind(snakemake.resources.device))))
        metric = LogitDifference(prompts.answer, prompts.foil)
        response = respond(engine, prompts.prompt_pairs, metric, Node(layer, "post", index))
        attributes = {**snakemake.params.attributes, **token_attributes(table)}
        attributes |= {"neuron_layer": layer, "neuron_index": index}
        write_dose_response(snakemake.output[0], response, attributes)
