"""Gather the shards of a corpus pass in one file."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.gathering import gather
from an_neuron.model.folder import read_shape
from an_neuron.model.tokenizer import Tokenizer

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        folder, shards = Path(snakemake.params.folder), [Path(path) for path in snakemake.input.shards]
        vocabulary = Tokenizer(folder).vocabulary(read_shape(folder).d_vocab)
        out, tokens = Path(snakemake.output[0]), Path(snakemake.input.tokens)
        gather(out, shards, tokens, vocabulary, snakemake.params.attributes)
