"""Choose a study's pairs of a token and a neuron: the studied one, those listed, the best-aligned ones."""

import json
from pathlib import Path

from an_neuron.corpus.associations import best_aligned, named_pairs, unique, write_pairs
from an_neuron.files import hdf5
from an_neuron.jobs.job import job
from an_neuron.model.folder import Tokenizer

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        study, given = snakemake.params.study, snakemake.input
        chosen = given.get("neuron")
        neuron = json.loads(Path(chosen).read_text()) if chosen else study["neuron"]
        pairs = named_pairs(Tokenizer(Path(snakemake.params.folder)), study["answer"], neuron, study["pairs"])
        if study["top"]:
            pairs += best_aligned(hdf5.read(given.top_neurons), hdf5.read(given.top_tokens), study["top"])
        write_pairs(snakemake.output[0], unique(pairs))
