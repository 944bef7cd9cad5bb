"""Find every token's most congruent neurons, and every neuron's most congruent tokens."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.congruence.ranking import rank_congruence, write_top_neurons, write_top_tokens
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model, process_weights
from an_neuron.model.tokenizer import Tokenizer

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        folder = Path(snakemake.params.folder)
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        process_weights(model, snakemake.params.processing)
        vocabulary = Tokenizer(folder).vocabulary(model.cfg.d_vocab)
        neurons, tokens = rank_congruence(model)
        write_top_neurons(snakemake.output.neurons, neurons, vocabulary, snakemake.params.attributes)
        write_top_tokens(snakemake.output.tokens, tokens, snakemake.params.attributes)
