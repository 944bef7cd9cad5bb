"""The files of the corpus pass: shards, the file that gathers them, and what it holds of one association.

A shard holds some rows of the corpus, the gathered file all of them: as virtual datasets that look into the shards, so
that nothing is copied. The shards are named relative to it, so a folder of results can be moved.

==================  ==============  =======  =================================================================
dataset             dims            dtype    content
==================  ==============  =======  =================================================================
association_name           association            text     name of the association's files
association_token          association            text     the studied token
association_token_id       association            int32    its id
association_layer          association            int32    the neuron's layer
association_index  association            int32    the neuron's number in its layer
occurrences         association            int64    how often the token stands in the corpus, BOS positions left out
top_predictions     association            int64    how often it is the top prediction
activation          association, row, pos  float32  the neuron's activation (hook_post)
margin              token, row, pos float32  logit(token) - largest other logit; positive = top prediction
top_prediction      row, pos        int32    most likely next token
token_id            row, pos        int32    tokens of the corpus, BOS first (in the gathered file)
vocabulary          d_vocab         text     text of each token id (in the gathered file)
==================  ==============  =======  =================================================================

`margin` has a row for each different token, in the order of the associations. With `keep: summary` there are instead of
activation, margin and top_prediction:

==================  ================================  =======  ==================================================
dataset             dims                              dtype    content
==================  ================================  =======  ==================================================
count               association, activation_bin, margin_bin  int64    tokens of the corpus in these bins
prediction_count    association, octave, d_vocab             int64    tokens with an activation there, by top prediction
place_activation    association, place                       float32  of the most activating places, best first
place_margin        association, place                       float32  the token's margin there
place_row, _pos     association, place                       int32    where that is in the corpus
place_top_          association, place                       int32    most likely next token there
prediction
==================  ================================  =======  ==================================================
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os.path import relpath
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from an_neuron.corpus.associations import Association, association_names, studied_tokens
from an_neuron.corpus.summaries import Places, Summary
from an_neuron.errors import UserError
from an_neuron.files import old_hdf5 as hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.old_hdf5 import Dataset

CHUNK = 65_536
"""Values in a chunk of a dataset, and tokens that are gathered in memory before they are written."""
WHOLE_NUMBERS = {"shuffle": True, "compression": "gzip", "compression_opts": 1}
ASSOCIATIONS = (
    "association_name",
    "association_token",
    "association_token_id",
    "association_layer",
    "association_index",
)
COUNTS = ("occurrences", "top_predictions")
STREAMS = {
    "activation": Dataset((), ("association", "row", "pos"), "", "the neuron's activation (hook_post)"),
    "margin": Dataset((), ("token", "row", "pos"), "logits", "logit(token) - largest other logit"),
    "top_prediction": Dataset((), ("row", "pos"), "token id", "most likely next token"),
}


@dataclass(frozen=True)
class Recorded:
    """What a model does at each token of some rows.

    Attributes
    ----------
    activation
        Each association's neuron's activation (`hook_post`), [association, row, pos].
    margin
        logit(token) - the largest other logit, of each studied token, [token, row, pos]; positive = the token is the
        top prediction.
    top_prediction
        Id of the most likely next token, [row, pos].
    """

    activation: np.ndarray
    margin: np.ndarray
    top_prediction: np.ndarray


def write_shard(
    path: Path,
    recorded: Iterable[Recorded],
    rows: Any,
    bounds: tuple[int, int],
    associations: Sequence[Association],
    d_vocab: int,
    keep: str,
    dtype: str,
    attributes: Mapping[str, Any],
) -> None:
    """Write a shard as the pass goes on; only its last rows are held in memory.

    Parameters
    ----------
    path
        The shard's file.
    recorded
        The shard's rows, in order.
    rows
        The whole corpus, [row, pos]; an array or an open HDF5 dataset.
    bounds
        The shard's first row, and the one after its last.
    associations
        What is recorded.
    d_vocab
        Size of the vocabulary.
    keep
        "all" or "summary".
    dtype
        How activations and margins are stored: float32, or float16, which rounds them to 11 significant bits (0.05 %)
        and cannot hold what is beyond 65,504.
    attributes
        Root attributes.
    """
    done, upto = bounds
    owner = _token_rows(associations)
    counts = {name: np.zeros(len(associations), np.int64) for name in COUNTS}
    origin = {"keep": keep, "first_row": done, "upto_row": upto, "n_rows": len(rows)}
    with hdf5.create(path, {**attributes, "dtype": dtype, **origin}) as file:
        _add_associations(file, associations)
        shape = (upto - done, rows.shape[1])
        sink = (
            _Values(file, len(associations), shape, dtype) if keep == "all" else _Summaries(file, owner, d_vocab, done)
        )
        for part in recorded:
            sink.add(part)
            ids = rows[done : done + len(part.top_prediction), 1:]
            counts["occurrences"] += [int((ids == association.token_id).sum()) for association in associations]
            counts["top_predictions"] += (part.margin > 0).sum((1, 2))[owner]
            done += len(part.top_prediction)
        if done != upto:
            raise ValueError(f"rows up to {upto} were to be recorded, not {done}")
        sink.finish()
        _add_counts(file, counts)


class _Values:
    """Writes every value, a chunk at a time."""

    def __init__(self, file: h5py.File, n_associations: int, shape: tuple[int, int], dtype: str) -> None:
        self._file, self._written, self._waiting = file, 0, list[Recorded]()
        self._dtype, self._limit = dtype, float(np.finfo(dtype).max)
        n_tokens = len(set(file["association_token_id"][:]))
        n_chunks = -(-shape[0] // max(1, CHUNK // shape[1]))
        self._rows = -(-shape[0] // n_chunks)  # chunks alike, so that the last one is not mostly empty
        for name, first in (("activation", (n_associations,)), ("margin", (n_tokens,)), ("top_prediction", ())):
            chunks = (*(1 for _ in first), self._rows, shape[1])
            kind: Any = dtype if first else np.int32
            options = {} if first else WHOLE_NUMBERS
            created = file.create_dataset(name, (*first, *shape), kind, chunks=chunks, track_times=False, **options)
            hdf5.describe(created, STREAMS[name])

    def add(self, part: Recorded) -> None:
        largest = max(float(abs(values).max(initial=0)) for values in (part.activation, part.margin))
        if largest > self._limit:
            raise UserError(
                f"An activation or margin of {largest:.6g} is beyond what {self._dtype} can hold; write "
                "`dtype: float32` under corpus in config.yaml."
            )
        self._waiting.append(part)
        if sum(len(some.top_prediction) for some in self._waiting) >= self._rows:
            self._write(self._rows)

    def finish(self) -> None:
        while self._waiting:
            self._write(self._rows)

    def _write(self, n_rows: int) -> None:
        """Write the first so many of the waiting rows: whole chunks, so that none is compressed twice."""
        left = {}
        for name in STREAMS:
            whole = np.concatenate([getattr(some, name) for some in self._waiting], axis=-2)
            done, left[name] = np.split(whole, [n_rows], axis=-2)
            upto = self._written + done.shape[-2]
            self._file[name][..., self._written : upto, :] = done
        self._written = upto
        self._waiting = [Recorded(**left)] if left["top_prediction"].size else []


class _Summaries:
    """Keeps a summary of each association, and writes them at the end."""

    def __init__(self, file: h5py.File, owner: Sequence[int], d_vocab: int, first_row: int) -> None:
        self._file, self._owner, self._row = file, owner, first_row
        self._summaries = [Summary(d_vocab) for _ in owner]

    def add(self, part: Recorded) -> None:
        for number, summary in enumerate(self._summaries):
            summary.add(part.activation[number], part.margin[self._owner[number]], part.top_prediction, self._row)
        self._row += len(part.top_prediction)

    def finish(self) -> None:
        _add_summaries(self._file, self._summaries)


def gather(
    path: Path, shards: Sequence[Path], tokens: Path, vocabulary: Sequence[str], attributes: Mapping[str, Any]
) -> None:
    """Write the file that gathers the shards: virtual datasets of all values, or the sum of all summaries.

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
    UserError
        If the shards do not follow upon one another from the corpus' first row to its last.
    """
    with ExitStack() as stack:
        files = sorted((stack.enter_context(hdf5.opened(shard)) for shard in shards), key=_first_row)
        _check_whole(files)
        first = files[0]
        origin = {name: first.attrs[name] for name in ("keep", "dtype", "n_rows", "readout", "precision")}
        with hdf5.create(path, {**attributes, **origin}) as file:
            for name in ASSOCIATIONS:
                first.copy(name, file)
            _add_counts(file, {name: sum(some[name][:] for some in files) for name in COUNTS})
            hdf5.add(file, "vocabulary", Dataset(list(vocabulary), ("d_vocab",), "", "text of each token id"))
            with hdf5.opened(tokens) as corpus:
                described = Dataset((), ("row", "pos"), "token id", "tokens of the corpus, BOS first")
                _add_virtual(file, "token_id", [corpus], described, path.parent)
            if first.attrs["keep"] == "all":
                for name, described in STREAMS.items():
                    _add_virtual(file, name, files, described, path.parent)
            else:
                _add_summaries(file, [_merged(files, number) for number in range(len(first["association_name"]))])


def _add_virtual(file: h5py.File, name: str, sources: Sequence[h5py.File], described: Dataset, folder: Path) -> None:
    """Add a dataset that joins, along the rows, what the sources hold, without copying it."""
    shapes = [source[name].shape for source in sources]
    n_rows = [shape[-2] for shape in shapes]
    layout = h5py.VirtualLayout((*shapes[0][:-2], sum(n_rows), shapes[0][-1]), sources[0][name].dtype)
    start = 0
    for source, length in zip(sources, n_rows, strict=True):
        where = relpath(source.filename, folder)  # HDF5 looks for it from the folder of the gathered file
        layout[..., start : start + length, :] = h5py.VirtualSource(where, name, source[name].shape)
        start += length
    layout.dcpl.set_obj_track_times(False)
    hdf5.describe(file.create_virtual_dataset(name, layout), described)


def _merged(files: Sequence[h5py.File], number: int) -> Summary:
    first, *others = (_read_summary(file, number) for file in files)
    for other in others:
        first.merge(other)
    return first


def read_association(path: Path, name: str) -> Table:
    """Read every value of one association, to be used as its own table.

    Returns
    -------
    Table
        activation, margin, top_prediction and token_id, each [row, pos], and vocabulary [d_vocab]; the attributes
        layer, neuron, token, token_id, occurrences, top_predictions and n_tokens besides the file's own.
    """
    with hdf5.opened(path) as file:
        number = association_number(file, name)
        tables = {name: file[name][...] for name in ("top_prediction", "token_id")}
        tables["activation"] = file["activation"][number].astype(np.float32)
        tables["margin"] = file["margin"][_owner(file, number)].astype(np.float32)
        tables["vocabulary"] = file["vocabulary"].asstr()[...]
        return Table(path, tables, association_attributes(file, number))


def read_summary(path: Path, name: str, rows_at_once: int = 64) -> Summary:
    """Return the summary of an association: the one that was kept, or that of all its values, read a few rows at a time."""
    with hdf5.opened(path) as file:
        number = association_number(file, name)
        if file.attrs["keep"] == "summary":
            return _read_summary(file, number)
        summary, owner = Summary(len(file["vocabulary"])), _owner(file, number)
        for start in range(0, file.attrs["n_rows"], rows_at_once):
            rows = slice(start, start + rows_at_once)
            activation, margin = file["activation"][number, rows], file["margin"][owner, rows]
            summary.add(activation, margin, file["top_prediction"][rows], start)
        return summary


def association_number(file: h5py.File, name: str) -> int:
    """Return where an association of a name is on the associations' axis."""
    names = list(file["association_name"].asstr()[:])
    if name not in names:
        raise UserError(f"{file.filename} holds no association {name}, only {', '.join(names)}; run snakemake again.")
    return names.index(name)


def association_attributes(file: h5py.File, number: int) -> dict[str, Any]:
    """Return what the file says of itself, and of one association."""
    own = {
        "token": file["association_token"].asstr()[number],
        "token_id": int(file["association_token_id"][number]),
        "layer": int(file["association_layer"][number]),
        "index": int(file["association_index"][number]),
        "n_tokens": int(np.prod(file["token_id"].shape)),
    }
    return {**file.attrs, **own, **{name: int(file[name][number]) for name in COUNTS}}


def _first_row(file: h5py.File) -> int:
    return int(file.attrs["first_row"])


def _check_whole(files: Sequence[h5py.File]) -> None:
    """Refuse shards that overlap, leave out rows, or were recorded differently."""
    bounds = [(int(file.attrs["first_row"]), int(file.attrs["upto_row"])) for file in files]
    ends = [0, *(upto for _, upto in bounds)]
    alike = {(file.attrs["keep"], *(file[name][:].tobytes() for name in ASSOCIATIONS[2:])) for file in files}
    if [first for first, _ in bounds] != ends[:-1] or ends[-1] != files[0].attrs["n_rows"] or len(alike) != 1:
        raise UserError(
            f"The shards hold the rows {', '.join(f'{first} to {upto - 1}' for first, upto in bounds)} of "
            f"{files[0].attrs['n_rows']}, or not the same associations; delete their folder, "
            f"{Path(files[0].filename).parent}, and run snakemake again."
        )


def _token_rows(associations: Sequence[Association]) -> list[int]:
    """Return where on the tokens' axis each association's token is."""
    tokens = studied_tokens(associations)
    return [tokens.index(association.token_id) for association in associations]


def _owner(file: h5py.File, number: int) -> int:
    ids = file["association_token_id"][:].tolist()
    return list(dict.fromkeys(ids)).index(ids[number])


def _add_associations(file: h5py.File, associations: Sequence[Association]) -> None:
    names = association_names((association.token, association.layer, association.index) for association in associations)
    columns = {
        "association_name": (names, "name of the association's files"),
        "association_token": ([association.token for association in associations], "the studied token"),
        "association_token_id": ([association.token_id for association in associations], "its id"),
        "association_layer": ([association.layer for association in associations], "the neuron's layer"),
        "association_index": ([association.index for association in associations], "the neuron's number in its layer"),
    }
    for name, (values, text) in columns.items():
        hdf5.add(file, name, Dataset(values, ("association",), "", text))


def _add_counts(file: h5py.File, counts: Mapping[str, np.ndarray]) -> None:
    texts = {
        "occurrences": "how often the token stands in the corpus",
        "top_predictions": "how often it is the top prediction",
    }
    for name, values in counts.items():
        hdf5.add(file, name, Dataset(values, ("association",), "tokens", texts[name], wide=True))


def _add_summaries(file: h5py.File, summaries: Sequence[Summary]) -> None:
    bins = ("association", "activation_bin", "margin_bin")
    counts = {
        "count": Dataset([some.count for some in summaries], bins, "tokens", "tokens in these bins", wide=True),
        "prediction_count": Dataset(
            [some.prediction_count for some in summaries],
            ("association", "octave", "d_vocab"),
            "tokens",
            "tokens with an activation there, by top prediction",
            wide=True,
        ),
    }
    for name, dataset in counts.items():
        hdf5.add(file, name, dataset, **WHOLE_NUMBERS)
    for name in Places.__dataclass_fields__:
        values = [getattr(some.places, name) for some in summaries]
        hdf5.add(
            file,
            f"place_{name}",
            Dataset(values, ("association", "place"), "", f"{name} at the most activating places"),
        )


def _read_summary(file: h5py.File, number: int) -> Summary:
    summary = Summary(file["prediction_count"].shape[-1])
    summary.count = file["count"][number]
    summary.prediction_count = file["prediction_count"][number]
    summary.places = Places(*(file[f"place_{name}"][number] for name in Places.__dataclass_fields__))
    return summary
