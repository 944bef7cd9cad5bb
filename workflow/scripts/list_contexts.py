"""List the places of the corpus at which a pair's neuron is most active."""

from pathlib import Path

from an_neuron.corpus.examples import contexts_frame, write_contexts_html
from an_neuron.files.hdf5 import read, replacing
from an_neuron.jobs.job import job

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        table = read(snakemake.input[0])
        with replacing(snakemake.output.csv) as temporary:
            contexts_frame(table).to_csv(temporary, index=False)
        write_contexts_html(table, Path(snakemake.output.html))
