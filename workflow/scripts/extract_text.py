"""Extract the text of a book."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.boilerplate import without_boilerplate
from an_neuron.corpus.sources import check_book
from an_neuron.corpus.text import extract_text
from an_neuron.files.sealed import write_text

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        book = Path(snakemake.input.book)
        check_book(book, snakemake.params.sha256)
        text = extract_text(book, snakemake.params.encoding)
        if snakemake.params.boilerplate == "drop":
            text = without_boilerplate(text, book)
        write_text(snakemake.output.text, text)
