"""Extract the text of a book."""

from pathlib import Path

from an_neuron.hdf5 import replacing
from an_neuron.job import job
from an_neuron.text import extract_text

if __name__ == "__main__":
    with job(snakemake.log[0]):
        text = extract_text(Path(snakemake.input[0]))
        with replacing(snakemake.output[0]) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
