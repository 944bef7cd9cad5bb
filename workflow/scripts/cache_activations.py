"""Record a neuron's activation, a token's margin and the top prediction at each token of a corpus."""

from pathlib import Path

from an_neuron import hdf5
from an_neuron.corpus import record
from an_neuron.devices import pick
from an_neuron.job import job
from an_neuron.model_folder import Tokenizer
from an_neuron.models import load_model
from an_neuron.prompts import read_prompts
from an_neuron.tables import write_activations

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.threads):
        folder = Path(snakemake.params.folder)
        layer, index = int(snakemake.wildcards.layer), int(snakemake.wildcards.index)
        prompts, table = read_prompts(snakemake.input.prompts)
        rows = hdf5.read(snakemake.input.tokens)["token_id"]
        model = load_model(folder, pick(snakemake.resources.device))
        recorded = record(model, rows, layer, index, prompts.answer, snakemake.params.readout)
        attributes = {
            **snakemake.params.attributes,
            "layer": layer,
            "neuron": index,
            "token": table.attributes["answer"],
            "token_id": prompts.answer,
            "readout": snakemake.params.readout,
        }
        vocabulary = Tokenizer(folder).vocabulary(model.cfg.d_vocab)
        write_activations(snakemake.output[0], rows, vocabulary, recorded, attributes)
