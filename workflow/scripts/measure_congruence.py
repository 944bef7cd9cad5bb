"""Align one neuron with every token."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.congruence.neuron import neuron_congruence, write_neuron_congruence
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model, process_weights
from an_neuron.model.tokenizer import Tokenizer

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        folder = Path(snakemake.params.folder)
        layer, index = int(snakemake.wildcards.layer), int(snakemake.wildcards.index)
        model = load_model(folder, claimed(kind(snakemake.resources.device)))
        process_weights(model, snakemake.params.processing)
        vocabulary = Tokenizer(folder).vocabulary(model.cfg.d_vocab)
        attributes = {**snakemake.params.attributes, "layer": layer, "index": index}
        write_neuron_congruence(snakemake.output[0], neuron_congruence(model, layer, index), vocabulary, attributes)
