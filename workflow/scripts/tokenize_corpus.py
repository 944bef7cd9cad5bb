"""Cut a text into rows of tokens that a model can read."""

from pathlib import Path

from an_neuron.corpus.rows import row_length, token_rows, write_tokens
from an_neuron.files.sealed import read_text
from an_neuron.jobs.job import job
from an_neuron.model.folder import read_shape
from an_neuron.model.tokenizer import Tokenizer

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        folder = Path(snakemake.params.folder)
        text = read_text(snakemake.input.text)
        shape = read_shape(folder)
        n_ctx = row_length(snakemake.params.n_ctx, shape)
        rows = token_rows(Tokenizer(folder), text, n_ctx, shape.d_vocab, snakemake.params.rows)
        write_tokens(snakemake.output[0], rows, snakemake.params.attributes)
