"""Refuse a study that its model cannot do, and say what it costs where no GPU is used."""

import sys
from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.study.checks import check_with_model
from an_neuron.study.cost import cost_on_cpu

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        study, folder = snakemake.params.study, Path(snakemake.params.folder)
        check_with_model(study, folder)
        said = cost_on_cpu(study, folder, snakemake.resources.device)
        print(said, file=sys.stderr)
        Path(snakemake.output[0]).write_text(f"The study fits its model. {said}".rstrip() + "\n")
