"""Write the checksums of a study's results."""

from an_neuron.jobs.job import job
from an_neuron.files.checksums import write_checksums

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        write_checksums(snakemake.output[0], snakemake.input.results)
