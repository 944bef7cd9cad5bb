"""Refuse a study that its model cannot do, and say what it costs where no GPU is used."""

import sys
from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.atomic import write_text
from an_neuron.study.cpu import cost_on_cpu
from an_neuron.study.fit import check_with_model
from an_neuron.study.study import Study

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        block = snakemake.params.study
        check_with_model(block, Path(snakemake.params.folder))
        cost = cost_on_cpu(Study.of(snakemake.wildcards.study, block), snakemake.resources.device)
        print(cost, file=sys.stderr)
        write_text(snakemake.output[0], f"The study fits its model. {cost}".rstrip() + "\n")
