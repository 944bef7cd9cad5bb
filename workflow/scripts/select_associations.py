"""Choose a study's associations: the studied one, those listed, exclusive ones that the corpus can show."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.associations import unique, write_associations
from an_neuron.corpus.candidate_files import taken_associations
from an_neuron.corpus.selection import named_associations
from an_neuron.files.hdf5 import read
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.patching.selection import read_neuron

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        study, files = snakemake.params.study, snakemake.input
        chosen = files.get("neuron")
        neuron = dict(zip(("layer", "index"), read_neuron(chosen), strict=True)) if chosen else study["neuron"]
        tokenizer = Tokenizer(Path(snakemake.params.folder))
        associations = named_associations(tokenizer, study["answer"], neuron, study["associations"])
        if study["top"]:
            associations += taken_associations(read(files.candidates))
        write_associations(snakemake.output[0], unique(associations))
