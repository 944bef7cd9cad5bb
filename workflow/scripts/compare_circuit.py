"""Hold the circuit's values against published ones."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.files.atomic import write_csv
from an_neuron.study.published import compare, read_published
from an_neuron.study.published_circuit import measure_circuit, of_circuit

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        tables = {name: Path(snakemake.input[name]) for name in ("circuit", "curves", "areas", "driving_neurons")}
        published = of_circuit(read_published(Path(snakemake.input.published)), wanted=True)
        write_csv(snakemake.output[0], compare(published, measure_circuit(tables)))
