"""Compare a study's numbers with published ones."""

import sys
from pathlib import Path

from an_neuron.job import job
from an_neuron.published import compare, measure, read_published, summary, write_html

if __name__ == "__main__":
    with job(snakemake.log[0]):
        tables = {name: Path(path) for name, path in snakemake.input.items() if name != "published"}
        compared = compare(read_published(Path(snakemake.input.published)), measure(tables))
        compared.to_csv(snakemake.output.csv, index=False)
        write_html(compared, Path(snakemake.output.html))
        print(summary(compared), file=sys.stderr)
