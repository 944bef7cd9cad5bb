"""The file that gathers a corpus pass' shards, activations/associations.h5.

It holds all rows of the corpus: every value as virtual datasets that look into the shards, so that nothing is copied,
or the sum of the shards' summaries. The shards are named relative to it, so a folder of results can be moved.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import reduce
from pathlib import Path
from typing import Any

import h5py

from an_neuron.corpus.choice_places import CHOICE_FIELDS, ChoicePlaces, add_choice_places, read_choice_places
from an_neuron.corpus.documents import DOCUMENT_FIELDS, PACKING, Documents, add_documents, packing_of
from an_neuron.corpus.recorded import (
    ASSOCIATION_FIELDS,
    COUNT_FIELDS,
    PASS_ATTRIBUTES,
    VALUE_FIELDS,
    add_counts,
    stored_token_ids,
)
from an_neuron.corpus.rows import TOKENS
from an_neuron.corpus.shards import SHARD
from an_neuron.corpus.summaries import SUMMARY_FIELDS, Summary, add_summaries, read_summary
from an_neuron.errors import DamagedFileError
from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema

GATHERED = Schema(
    "activations/associations.h5",
    "what the model does at each token of the corpus, for all associations: every value, or a summary",
    {
        **ASSOCIATION_FIELDS,
        **COUNT_FIELDS,
        "vocabulary": Field("d_vocab", "text", "", "text of each token id"),
        "token_id": Field("row pos", "int32", "token id", "tokens of the corpus, BOS first"),
        **DOCUMENT_FIELDS,
        **VALUE_FIELDS,
        **SUMMARY_FIELDS,
        **CHOICE_FIELDS,
    },
    {
        **PASS_ATTRIBUTES,
        **PACKING,
        "n_rows": "rows of the corpus",
    },
)
IDENTITY = ("association_layer", "association_index")


def gather(
    path: Path, shards: Sequence[Path], tokens: Path, vocabulary: Sequence[str], attributes: Mapping[str, Any]
) -> None:
    """Write the file that gathers the shards.

    Parameters
    ----------
    path
        The gathered file.
    shards
        The shards' files.
    tokens
        The corpus' tokens, corpus/tokens.h5.
    vocabulary
        Text of each token id, [d_vocab].
    attributes
        Root attributes.

    Raises
    ------
    DamagedFileError
        If the shards do not follow upon one another from the corpus' first row to its last.
    """
    with ExitStack() as stack:
        files = whole_pass(stack, shards)
        corpus = stack.enter_context(hdf5.opened(tokens, TOKENS))
        first = files[0]
        origin = {name: first.attrs[name] for name in (*PASS_ATTRIBUTES, "dtype", "n_rows")}
        documents = Documents.of_file(corpus)
        with hdf5.create(path, GATHERED, {**attributes, **origin, **packing_of(documents)}) as writer:
            for name in (name for name in ASSOCIATION_FIELDS if name in first):
                writer.add(name, hdf5.loaded(first[name]))
            add_counts(writer, {name: sum(file[name][:] for file in files) for name in COUNT_FIELDS})
            writer.add("vocabulary", list(vocabulary))
            writer.join("token_id", [corpus["token_id"]])
            add_documents(writer, documents)
            if first.attrs["keep"] == "all":
                for name in (name for name in VALUE_FIELDS if name in first):
                    writer.join(name, [file[name] for file in files])
            else:
                add_summaries(writer, [_merged(files, number) for number in range(len(first["association_name"]))])
                add_choice_places(writer, reduce(ChoicePlaces.merged, map(read_choice_places, files)))


def whole_pass(stack: ExitStack, shards: Sequence[Path]) -> list[h5py.File]:
    """Open the shards of a pass, in the order of their rows.

    Raises
    ------
    DamagedFileError
        If they do not follow upon one another from the corpus' first row to its last.
    """
    files = sorted((stack.enter_context(hdf5.opened(shard, SHARD)) for shard in shards), key=_first_row)
    _check_whole(files)
    return files


def _merged(files: Sequence[h5py.File], number: int) -> Summary:
    whole, *others = (read_summary(file, number) for file in files)
    for other in others:
        whole.merge(other)
    return whole


def _first_row(file: h5py.File) -> int:
    return int(file.attrs["first_row"])


def _check_whole(files: Sequence[h5py.File]) -> None:
    """Refuse shards that overlap, leave out rows, or were recorded differently."""
    bounds = [(int(file.attrs["first_row"]), int(file.attrs["upto_row"])) for file in files]
    ends = [0, *(upto for _, upto in bounds)]
    alike = {
        (
            file.attrs["keep"],
            int(file.attrs["foil_id"]),
            *stored_token_ids(file),
            *(file[name][:].tobytes() for name in IDENTITY),
        )
        for file in files
    }
    if [first for first, _ in bounds] != ends[:-1] or ends[-1] != files[0].attrs["n_rows"] or len(alike) != 1:
        rows = ", ".join(f"{first} to {upto - 1}" for first, upto in bounds)
        raise DamagedFileError(
            Path(files[0].filename).parent,
            f"has shards that hold the rows {rows} of {files[0].attrs['n_rows']}, or not the same associations",
        )
