"""List the files of a corpus, and count the documents that they may hold where several jobs share them."""

from an_neuron.jobs.job import job
from an_neuron.corpus.file_list import list_files, write_files
from an_neuron.corpus.sources import fetched_files

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        dataset = snakemake.input.get("dataset")
        paths = fetched_files(dataset) if dataset else list(snakemake.input.files)
        write_files(snakemake.output[0], list_files(paths, counted=snakemake.params.n_parts > 1))
