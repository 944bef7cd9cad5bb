"""Summarize what the model loses over the corpus without its neurons, with intervals."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.ablations import LOSSES, ablation_frame, write_summary
from an_neuron.files.hdf5 import read

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        write_summary(Path(snakemake.output[0]), ablation_frame(read(snakemake.input[0], LOSSES)))
