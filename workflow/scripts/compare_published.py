"""Compare a study's numbers with published ones."""

import sys
from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.atomic import write_csv
from an_neuron.study.published import compare, measure, read_published, summary, write_html
from an_neuron.study.published_circuit import of_circuit

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        given = snakemake.input
        tables = {name: Path(path) for name, path in given.items() if name not in ("published", "library")}
        published = of_circuit(read_published(Path(given.published)), wanted=False)
        compared = compare(published, measure(tables))
        write_csv(snakemake.output.csv, compared)
        write_html(compared, Path(snakemake.output.html))
        print(summary(compared), file=sys.stderr)
