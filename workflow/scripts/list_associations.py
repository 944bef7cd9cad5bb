"""List all associations, with what the corpus shows of each."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.associations import read_associations
from an_neuron.corpus.candidate_files import passed_over
from an_neuron.corpus.overview import associations_frame, write_associations_html
from an_neuron.files.atomic import write_csv
from an_neuron.files.hdf5 import read

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        frame = associations_frame(
            read_associations(snakemake.input.associations), [read(path) for path in snakemake.input.tables]
        )
        write_csv(snakemake.output.csv, frame)
        candidates = snakemake.input.get("candidates")
        write_associations_html(frame, Path(snakemake.output.html), passed_over(read(candidates)) if candidates else "")
