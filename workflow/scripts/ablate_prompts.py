"""Predict the token after each prompt with the studied neuron as it is, switched off, and negated."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.folder import read_shape
from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.patching.ablated_prompts import ablated_prompts_frame, predict_ablated, write_ablated_prompts
from an_neuron.patching.selection import read_neuron
from an_neuron.prompts.predictions import prompt_names
from an_neuron.prompts.tokenizing import tokenize_further
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        folder, params, output = Path(snakemake.params.folder), snakemake.params, snakemake.output
        prompts, table = read_prompts(snakemake.input.prompts)
        layer, index = params.neuron or read_neuron(snakemake.input.neuron)
        tokenizer = Tokenizer(folder)
        further = tokenize_further(tokenizer, params.study["further_prompts"], read_shape(folder))
        ids, tokens = [*prompts.all(), *further], (prompts.answer, prompts.foil)
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        ablated = predict_ablated(model, ids, (layer, index), tokens, params.study["top_k"], params.processing)
        names = prompt_names(len(prompts.prompt_pairs), len(further))
        attributes = {**params.attributes, **token_attributes(table), "neuron_layer": layer, "neuron_index": index}
        write_ablated_prompts(output.h5, *ablated, ids, names, tokenizer, attributes)
        write_csv(output.csv, ablated_prompts_frame(hdf5.read(output.h5)))
