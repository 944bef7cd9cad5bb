"""Record from what, with what and in what time a study was built."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.study.provenance import provenance, write_record
from an_neuron.study.provenance_page import write_html

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        params = snakemake.params
        sources = list(snakemake.input.origin)
        built = [path for path in snakemake.input if path not in {*sources, *snakemake.input.library}]
        config = {"study": params.study, **params.shared}
        workflow, study = Path(__file__).parent, snakemake.wildcards.study
        record = provenance(config, study, workflow, sources, built, Path(params.benchmarks))
        write_record(Path(snakemake.output.json), record)
        write_html(record, Path(snakemake.output.html))
