"""Predict the token after each prompt."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.folder import read_shape
from an_neuron.model.loading import load_model, process_weights
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.prompts.predictions import predict, predictions_frame, prompt_names, write_predictions
from an_neuron.prompts.tokenizing import tokenize_further
from an_neuron.prompts.tokens import read_prompts, token_attributes

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        folder = Path(snakemake.params.folder)
        prompts, table = read_prompts(snakemake.input.prompts)
        tokenizer = Tokenizer(folder)
        further = tokenize_further(tokenizer, snakemake.params.study["further_prompts"], read_shape(folder))
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        process_weights(model, snakemake.params.processing)
        ids = [*prompts.all(), *further]
        top_k = snakemake.params.study["top_k"]
        predictions = [predict(model, prompt, prompts.answer, prompts.foil, top_k) for prompt in ids]
        names = prompt_names(len(prompts.prompt_pairs), len(further))
        attributes = {**snakemake.params.attributes, **token_attributes(table)}
        write_predictions(snakemake.output.h5, predictions, ids, names, tokenizer, attributes)
        write_csv(snakemake.output.csv, predictions_frame(hdf5.read(snakemake.output.h5)))
