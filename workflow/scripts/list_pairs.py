"""List all pairs of a token and a neuron, with what the corpus shows of each."""

from pathlib import Path

from an_neuron.corpus.associations import read_pairs
from an_neuron.corpus.overview import pairs_frame, write_pairs_html
from an_neuron.files.hdf5 import read, replacing
from an_neuron.jobs.job import job

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        frame = pairs_frame(read_pairs(snakemake.input.pairs), [read(path) for path in snakemake.input.tables])
        with replacing(snakemake.output.csv) as temporary:
            frame.to_csv(temporary, index=False)
        write_pairs_html(frame, Path(snakemake.output.html))
