"""A whole corpus pass of a tiny model, written to files as the workflow does."""

import numpy as np

from an_neuron.corpus.batches import shard_rows
from an_neuron.corpus.reader import Reader, record
from an_neuron.corpus.recordings import gather, write_shard
from an_neuron.files import old_hdf5 as hdf5
from an_neuron.files.old_hdf5 import Dataset


def gathered(folder, tiny, rows, associations, n_shards=1, keep="all", dtype="float32", size=None):
    """Read rows in shards, gather these, and return the gathered file's path."""
    rows = np.asarray(rows, dtype=np.int32)
    tokens = folder / "corpus" / "tokens.h5"
    hdf5.write(tokens, {"token_id": Dataset(rows, ("row", "pos"))}, {})
    reader = Reader(tiny.raw, associations, "unembedding")
    origin = {"readout": "unembedding", "precision": "highest"}
    shards = [folder / "activations" / "shards" / f"{number + 1}-of-{n_shards}.h5" for number in range(n_shards)]
    for number, path in enumerate(shards):
        bounds = shard_rows(*rows.shape, number, n_shards)
        parts = record(reader, rows, *bounds, size=size)
        write_shard(path, parts, rows, bounds, associations, reader.d_vocab, keep, dtype, origin)
    path = folder / "activations" / "associations.h5"
    gather(path, shards, tokens, tiny.tokenizer.vocabulary(reader.d_vocab), {"study": "tiny"})
    return path
