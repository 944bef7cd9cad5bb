"""Write plotly.js, which the pages of all studies load."""

from an_neuron.jobs.job import job
from an_neuron.page.plotly_js import write_plotly

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        write_plotly(snakemake.output[0])
