"""Measure the answer's congruence with every neuron of the model."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.congruence.answer import token_congruence, write_answer
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model, process_weights
from an_neuron.model.tokenizer import Tokenizer, single_token

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        folder, token = Path(snakemake.params.folder), snakemake.params.answer
        token_id = single_token(Tokenizer(folder), token)
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        process_weights(model, snakemake.params.processing)
        attributes = {**snakemake.params.attributes, "token": token, "token_id": token_id}
        write_answer(Path(snakemake.output[0]), token_congruence(model, token_id), attributes)
