"""Choose a study's associations: the studied one, those listed, the best-aligned ones."""

import json
from pathlib import Path

from an_neuron.corpus.associations import mutually_exclusive, named_associations, unique, write_associations
from an_neuron.files import hdf5
from an_neuron.jobs.job import job
from an_neuron.model.tokenizer import Tokenizer

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        study, given = snakemake.params.study, snakemake.input
        chosen = given.get("neuron")
        neuron = json.loads(Path(chosen).read_text()) if chosen else study["neuron"]
        associations = named_associations(
            Tokenizer(Path(snakemake.params.folder)), study["answer"], neuron, study["associations"]
        )
        if study["top"]:
            associations += mutually_exclusive(hdf5.read(given.top_neurons), hdf5.read(given.top_tokens), study["top"])
        write_associations(snakemake.output[0], unique(associations))
