"""Describe what the corpus shows of one pair of a token and a neuron."""

from pathlib import Path

from an_neuron.hdf5 import replacing
from an_neuron.job import job
from an_neuron.model_folder import Tokenizer
from an_neuron.pair_tables import describe_pair, write_pair

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        tokenizer = Tokenizer(Path(snakemake.params.folder))
        described, predictions = describe_pair(Path(snakemake.input.gathered), snakemake.wildcards.pair, tokenizer)
        with replacing(snakemake.output.predictions) as temporary:
            predictions.to_csv(temporary, index=False)
        write_pair(Path(snakemake.output.table), described, snakemake.params.attributes)
