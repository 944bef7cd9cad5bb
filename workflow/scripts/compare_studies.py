"""Put the neurons of all built studies side by side, and the published one beside them."""

import sys
from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.sealed import write_csv
from an_neuron.page.studies_page import write_studies_page
from an_neuron.study.built import Built
from an_neuron.study.comparison import compare_studies, left_out, summary

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        built = [Built(**found) for found in snakemake.params.built]
        compared = compare_studies(built, Path(snakemake.input.published))
        absent = left_out(snakemake.params.studies, compared)
        write_csv(snakemake.output.csv, compared)
        write_studies_page(Path(snakemake.output.html), compared, built, absent, snakemake.params.formats)
        print(summary(compared, absent), file=sys.stderr)
