"""Download a study's book, or take it from an earlier download."""

import shutil
from pathlib import Path

from an_neuron.corpus.download import download
from an_neuron.files.atomic import replacing
from an_neuron.jobs.job import job

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        source = snakemake.params.source
        book = download(source["url"], Path(snakemake.params.folder), source["sha256"])
        with replacing(snakemake.output[0]) as temporary:
            shutil.copyfile(book, temporary)
