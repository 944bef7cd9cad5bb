"""Cut the tokens of a corpus' parts into rows that a model can read, without copying them."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.rows import row_length
from an_neuron.corpus.token_rows import gather_tokens
from an_neuron.model.folder import read_shape

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        params, parts = snakemake.params, [Path(path) for path in snakemake.input.parts]
        n_ctx = row_length(params.n_ctx, read_shape(Path(params.folder)))
        gather_tokens(Path(snakemake.output[0]), parts, n_ctx, params.rows, params.attributes)
