"""Describe what the corpus shows of one association of a token and a neuron."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.description import describe_association, write_association
from an_neuron.files.atomic import write_csv
from an_neuron.model.tokenizer import Tokenizer

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        tokenizer = Tokenizer(Path(snakemake.params.folder))
        described, predictions = describe_association(
            Path(snakemake.input.gathered), snakemake.wildcards.association, tokenizer
        )
        write_csv(snakemake.output.predictions, predictions)
        write_association(Path(snakemake.output.table), described, snakemake.params.attributes)
