"""Find every token's best-aligned neurons."""

from pathlib import Path

from an_neuron.alignment import align_tokens
from an_neuron.devices import pick
from an_neuron.job import job
from an_neuron.model_folder import Tokenizer
from an_neuron.models import load_model, process_weights
from an_neuron.tables import write_top_neurons

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.threads):
        folder = Path(snakemake.params.folder)
        model = load_model(folder, pick(snakemake.resources.device))
        process_weights(model, snakemake.params.processing)
        vocabulary = Tokenizer(folder).vocabulary(model.cfg.d_vocab)
        write_top_neurons(snakemake.output[0], align_tokens(model), vocabulary, snakemake.params.attributes)
