"""A whole corpus pass of a tiny model, written to files as the workflow does."""

import numpy as np

from an_neuron.corpus.batches import shard_rows
from an_neuron.corpus.corpus_pass import record
from an_neuron.corpus.gathering import gather
from an_neuron.corpus.neuron_watch import NeuronWatch
from an_neuron.corpus.reader import Reader
from an_neuron.corpus.recorded import Kept
from an_neuron.corpus.rows import write_tokens
from an_neuron.corpus.shards import Part, write_shard

ORIGIN = {"readout": "unembedding", "precision": "highest"}


def gathered(
    folder, tiny, rows, associations, n_shards=1, keep="all", dtype="float32", size=None, foil=None, layers=()
):
    """Read rows in shards, gather these, and return the gathered file's path."""
    rows = np.asarray(rows, dtype=np.int32)
    tokens = folder / "corpus" / "tokens.h5"
    write_tokens(tokens, rows, {})
    reader = Reader(tiny.raw, associations, "unembedding", foil=foil)
    kept = Kept(keep, dtype, reader.signed, foil)
    shards = [folder / "activations" / "shards" / f"{number + 1}-of-{n_shards}.h5" for number in range(n_shards)]
    for number, path in enumerate(shards):
        bounds = shard_rows(*rows.shape, number, n_shards)
        watch = NeuronWatch(reader.decoder, layers) if layers else None
        parts = record(reader, rows, *bounds, size=size, watch=watch)
        write_shard(path, parts, Part(rows, *bounds), associations, reader.d_vocab, kept, ORIGIN, watch)
    path = folder / "activations" / "associations.h5"
    gather(path, shards, tokens, tiny.tokenizer.vocabulary(reader.d_vocab), {"study": "tiny"})
    return path
