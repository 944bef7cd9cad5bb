"""Write plotly.js, out of plotly's package, for all pages to load."""

from plotly.offline import get_plotlyjs

from an_neuron.files.atomic import write_text
from an_neuron.jobs.job import job

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        write_text(snakemake.output[0], get_plotlyjs())
