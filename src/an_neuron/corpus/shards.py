"""A shard of a corpus pass, activations/shards/{scatteritem}.h5: what was recorded at successive rows."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import h5py
import numpy as np

from an_neuron.corpus.associations import Association, studied_tokens
from an_neuron.corpus.choice_places import CHOICE_FIELDS, ChoicePlaces, add_choice_places
from an_neuron.corpus.neuron_files import NEURON_FIELDS, add_neurons
from an_neuron.corpus.neuron_statistics import N_PLACES, POWERS
from an_neuron.corpus.recorded import (
    ASSOCIATION_FIELDS,
    COUNT_FIELDS,
    PASS_ATTRIBUTES,
    VALUE_FIELDS,
    WHOLE_NUMBERS,
    Kept,
    Recorded,
    add_associations,
    add_counts,
    token_places,
)
from an_neuron.corpus.summaries import SUMMARY_FIELDS, Summary, add_summaries
from an_neuron.errors import UserError
from an_neuron.files import hdf5
from an_neuron.files.atomic import check_room
from an_neuron.files.schema import Schema

if TYPE_CHECKING:
    from an_neuron.corpus.neuron_watch import NeuronWatch

SHARD = Schema(
    "activations/shards/{scatteritem}.h5",
    "what the model does at each token of a part of the corpus: every value, or a summary",
    {**ASSOCIATION_FIELDS, **VALUE_FIELDS, **SUMMARY_FIELDS, **CHOICE_FIELDS, **COUNT_FIELDS, **NEURON_FIELDS},
    {
        **PASS_ATTRIBUTES,
        "first_row": "the shard's first row",
        "upto_row": "the one after its last",
        "n_rows": "rows of the whole corpus",
    },
)
CHUNK = 65_536
"""Values in a chunk of a dataset, and tokens that are gathered in memory before they are written."""


@dataclass(frozen=True)
class Part:
    """Rows first:upto of a corpus, whose rows [row, pos] are an array or an open HDF5 dataset."""

    rows: Any
    first: int
    upto: int


def write_shard(
    path: Path,
    recorded: Iterable[Recorded],
    part: Part,
    associations: Sequence[Association],
    d_vocab: int,
    kept: Kept,
    attributes: Mapping[str, Any],
    watch: "NeuronWatch | None" = None,
) -> None:
    """Write a shard as the pass goes on; only its last rows are held in memory.

    Parameters
    ----------
    recorded
        What was recorded at the part's rows, in order.
    part
        The shard's part of the corpus.
    kept
        What is kept of it, and how.
    attributes
        Root attributes, readout and precision among them.
    watch
        What gathers statistics of every neuron while rows are recorded.

    Raises
    ------
    UserError
        If a value is beyond what the dtype can hold.
    FullDiskError
        If the disk has no room for the shard, before the pass begins.
    """
    check_room(path, least_bytes(part, associations, kept) + watched_bytes(watch))
    bounds = {"first_row": part.first, "upto_row": part.upto, "n_rows": len(part.rows)}
    foil_id = -1 if kept.foil is None else kept.foil
    how = {"keep": kept.keep, "dtype": kept.dtype, "signed": int(kept.signed), "foil_id": foil_id}
    with hdf5.create(path, SHARD, {**attributes, **how, **bounds}) as writer:
        add_associations(writer, associations)
        kind = _Values if kept.keep == "all" else _Summaries
        sinks: list[_Sink] = [kind(writer, part, associations, d_vocab, kept), _Counts(writer, part, associations)]
        for rows in recorded:
            for sink in sinks:
                sink.add(rows)
        for sink in sinks:
            sink.finish()
        if watch and watch.statistics:
            add_neurons(writer, watch.layers, watch.statistics)


def least_bytes(part: Part, associations: Sequence[Association], kept: Kept) -> int:
    """Return how large a shard will be at least: its scores, which are not compressed."""
    if kept.keep != "all":
        return 0
    n_scores = len(associations) + len(studied_tokens(associations)) + (0 if kept.foil is None else 2)
    return n_scores * (part.upto - part.first) * part.rows.shape[1] * np.dtype(kept.dtype).itemsize


def watched_bytes(watch: "NeuronWatch | None") -> int:
    """Return how large the statistics of watched neurons are at least: all but their bins, which are compressed."""
    if watch is None:
        return 0
    sizes = {"watched": len(watch.layers), "d_mlp": watch.d_mlp, "power": len(POWERS), "neuron_place": N_PLACES}
    return Schema(SHARD.path, "", NEURON_FIELDS).n_bytes(**sizes)


class _Sink(Protocol):
    """Takes what was recorded, and has written all of it when it has finished."""

    def add(self, recorded: Recorded) -> None: ...

    def finish(self) -> None: ...


class _Counts:
    """Counts how often each association's token occurs, and is the top prediction."""

    def __init__(self, writer: hdf5.Writer, part: Part, associations: Sequence[Association]) -> None:
        self._writer, self._part, self._done, self._associations = writer, part, part.first, associations
        self._place = token_places([association.token_ids for association in associations])
        self._counts = {name: np.zeros(len(associations), np.int64) for name in COUNT_FIELDS}

    def add(self, recorded: Recorded) -> None:
        upto = self._done + len(recorded.top_prediction)
        ids = self._part.rows[self._done : upto, 1:]
        self._counts["occurrences"] += [int(np.isin(ids, one.token_ids).sum()) for one in self._associations]
        self._counts["top_predictions"] += (recorded.margin > 0).sum((1, 2))[self._place]
        self._done = upto

    def finish(self) -> None:
        if self._done != self._part.upto:
            raise ValueError(f"rows up to {self._part.upto} were to be recorded, not {self._done}")
        add_counts(self._writer, self._counts)


class _Values:
    """Writes every value, a whole chunk at a time, so that none is compressed twice."""

    def __init__(
        self, writer: hdf5.Writer, part: Part, associations: Sequence[Association], _d_vocab: int, kept: Kept
    ) -> None:
        self._dtype, self._limit = kept.dtype, float(np.finfo(kept.dtype).max)
        n_rows, n_ctx = part.upto - part.first, part.rows.shape[1]
        n_chunks = -(-n_rows // max(1, CHUNK // n_ctx))
        chunk_rows = -(-n_rows // n_chunks)  # chunks alike, so that the last one is not mostly empty
        scores, n_tokens = {"dtype": kept.dtype}, len(studied_tokens(associations))
        columns: list[tuple[str, tuple[int, ...], dict[str, Any], type]] = [
            ("activation", (len(associations),), scores, np.float32),
            ("margin", (n_tokens,), scores, np.float32),
            ("top_prediction", (), WHOLE_NUMBERS, np.int64),
        ]
        if kept.foil is not None:
            columns += [(name, (), scores, np.float32) for name in ("logit_difference", "expected")]
        self._buffers = {}
        for name, first, stored, kind in columns:
            chunks = (*(1 for _ in first), chunk_rows, n_ctx)
            dataset = writer.allocate(name, (*first, n_rows, n_ctx), chunks=chunks, **stored)
            self._buffers[name] = _Buffer(dataset, np.empty((*first, chunk_rows, n_ctx), kind))

    def add(self, recorded: Recorded) -> None:
        values = {name: getattr(recorded, name) for name in self._buffers}
        scores = (part for part in values.values() if part.dtype.kind == "f")
        largest = max(float(abs(part).max(initial=0)) for part in scores)
        if largest > self._limit:
            message = f"An activation or margin of {largest:.6g} is beyond what {self._dtype} can hold."
            raise UserError(message, "corpus: {dtype: float32}")
        for name, buffer in self._buffers.items():
            buffer.add(values[name])

    def finish(self) -> None:
        for buffer in self._buffers.values():
            buffer.flush()


class _Buffer:
    """Holds the rows of one chunk of a dataset, [..., row, pos], and writes them when it is full."""

    def __init__(self, dataset: h5py.Dataset, rows: np.ndarray) -> None:
        self._dataset, self._rows = dataset, rows
        self._filled = self._written = 0

    def add(self, values: np.ndarray) -> None:
        """Take the next rows, [..., row, pos]."""
        while n_left := values.shape[-2]:
            n_rows = min(n_left, self._rows.shape[-2] - self._filled)
            self._rows[..., self._filled : self._filled + n_rows, :] = values[..., :n_rows, :]
            values = values[..., n_rows:, :]
            self._filled += n_rows
            if self._filled == self._rows.shape[-2]:
                self.flush()

    def flush(self) -> None:
        """Write what is held."""
        upto = self._written + self._filled
        self._dataset[..., self._written : upto, :] = self._rows[..., : self._filled, :]
        self._written, self._filled = upto, 0


class _Summaries:
    """Keeps a summary of each association, and the places of the choice; writes them at the end."""

    def __init__(
        self, writer: hdf5.Writer, part: Part, associations: Sequence[Association], d_vocab: int, kept: Kept
    ) -> None:
        self._writer, self._row = writer, part.first
        self._place = token_places([association.token_ids for association in associations])
        self._summaries = [Summary(d_vocab, kept.signed) for _ in associations]
        self._choice: ChoicePlaces | None = None

    def add(self, recorded: Recorded) -> None:
        for number, summary in enumerate(self._summaries):
            margin = recorded.margin[self._place[number]]
            summary.add(recorded.activation[number], margin, recorded.top_prediction, self._row)
        choice = ChoicePlaces.of(recorded, self._row)
        self._choice = self._choice.merged(choice) if self._choice else choice
        self._row += len(recorded.top_prediction)

    def finish(self) -> None:
        add_summaries(self._writer, self._summaries)
        if self._choice:
            add_choice_places(self._writer, self._choice)
