"""Tokenize a part of a corpus, one batch of documents after the other; a book is a single document."""

import os
from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.file_list import items_of, number_of_items, read_files, shares, text_bytes
from an_neuron.corpus.reading import How, Item
from an_neuron.corpus.rows import row_length
from an_neuron.corpus.token_parts import DocumentReader, Packing, write_part
from an_neuron.files.atomic import check_room
from an_neuron.files.sealed import read_text
from an_neuron.model.folder import read_shape
from an_neuron.model.tokenizer import Tokenizer

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input):
        os.environ["RAYON_NUM_THREADS"] = str(snakemake.threads)  # of the tokenizer
        folder, read, out = Path(snakemake.params.folder), snakemake.params.read, Path(snakemake.output[0])
        shape, tokenizer = read_shape(folder), Tokenizer(folder)
        if read["book"]:
            files, n_items, items = [read["book"]], 1, iter([(0, Item(0, read_text(snakemake.input.text)))])
            n_text = Path(snakemake.input.text).stat().st_size
        else:
            listed = read_files(snakemake.input.listed)
            part, n_parts = map(int, snakemake.wildcards.part.split("-of-"))
            of_part = shares(listed, part - 1, n_parts)
            files, n_items = [one.path for one in listed], number_of_items(of_part)
            items, n_text = items_of(listed, of_part, How(**read["how"])), text_bytes(listed, of_part)
        documents = DocumentReader(items, read["on_bad_line"])
        packing = Packing(read["packing"], row_length(read["n_ctx"], shape), read["rows"])
        check_room(out, packing.least_bytes(n_text))
        write_part(out, documents, files, tokenizer, shape.d_vocab, packing, snakemake.params.attributes, n_items)
