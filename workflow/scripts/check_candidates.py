"""Choose the model's clearest associations whose token occurs in the corpus, and whose neuron fires there."""

from pathlib import Path

from an_neuron.jobs.job import job
from an_neuron.corpus.candidate_files import write_candidates
from an_neuron.corpus.candidates import RangeReader, judge_candidates, measure_ranges, sampled_rows
from an_neuron.files.hdf5 import read
from an_neuron.jobs.claims import claimed
from an_neuron.model.devices import kind
from an_neuron.model.loading import load_model

if __name__ == "__main__":
    with job(snakemake.log[0], snakemake.input, snakemake.threads):
        files, params = snakemake.input, snakemake.params
        best = read(files.top_neurons), read(files.top_tokens)
        reader = RangeReader(load_model(Path(params.folder), claimed(kind(snakemake.resources.device))))
        counts, rows = sampled_rows(files.tokens, reader.d_vocab)
        ranges = measure_ranges(reader, rows)
        frame = judge_candidates(*best, counts, ranges, params.number)
        attributes = {**params.attributes, "n_tokens": ranges.n_tokens, "signed": ranges.signed}
        write_candidates(snakemake.output.h5, snakemake.output.csv, frame, attributes)
