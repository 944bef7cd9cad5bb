"""Tokenize a study's prompts, answer and foil."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.model.folder import read_shape
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.prompts.tokenizing import tokenize_prompts
from an_neuron.prompts.tokens import write_prompts

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        folder = Path(snakemake.params.folder)
        tokenizer = Tokenizer(folder)
        prompts = tokenize_prompts(tokenizer, snakemake.params.study, read_shape(folder))
        write_prompts(snakemake.output[0], prompts, tokenizer, snakemake.params.attributes)
