"""One pass of a reader over rows of a corpus.

Batches are launched one ahead of the one that is fetched, so that the device works while the host writes. A batch that
does not fit the device's memory is launched again with half as many rows.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from tqdm import tqdm

from an_neuron.corpus.batches import Batch, batch_from, rows_per_batch
from an_neuron.corpus.neuron_watch import NeuronWatch, Seen
from an_neuron.corpus.reader import Reader
from an_neuron.corpus.recorded import Recorded
from an_neuron.errors import UserError, is_out_of_memory
from an_neuron.model.hooks import hooked

log = logging.getLogger(__name__)


class RowReader(Protocol):
    """A model that reads rows of token ids."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def d_vocab(self) -> int:
        """Size of its vocabulary."""

    def read(self, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run rows of token ids, [row, pos]; return what is read there, each [..., row, pos]."""


def record(
    reader: Reader,
    rows: Any,
    first: int = 0,
    upto: int | None = None,
    size: int | None = None,
    watch: NeuronWatch | None = None,
) -> Iterator[Recorded]:
    """Read rows of a corpus.

    Parameters
    ----------
    reader
        The model.
    rows
        Token ids, [row, pos]: an array or an open HDF5 dataset, of which only a batch is read at a time.
    first, upto
        Which rows; all if not given. Their values are those of a pass over all rows, bit for bit.
    size
        How many rows run at once; what suits the device if not given.
    watch
        Gathers statistics of every neuron of some layers meanwhile.

    Yields
    ------
    Recorded
        Of the next rows, in order.

    Raises
    ------
    UserError
        If a token id is not in the vocabulary, an activation, margin or other value is not finite (the message says
        where), or not even a row fits the device.
    """
    for batch, parts in read_rows(reader, rows, first, upto, size, "corpus", watch):
        recorded = Recorded(*parts)
        _check_finite(reader, recorded, batch.first)
        yield recorded


def read_rows(
    reader: RowReader,
    rows: Any,
    first: int = 0,
    upto: int | None = None,
    size: int | None = None,
    what: str = "corpus",
    watch: NeuronWatch | None = None,
) -> Iterator[tuple[Batch, list[np.ndarray]]]:
    """Read rows of a corpus in batches; parameters and errors are those of `record`, but any value may stand there.

    Parameters
    ----------
    what
        Name of the progress.
    watch
        As for `record`.

    Yields
    ------
    tuple of Batch and list of numpy.ndarray
        The batch, and what was read at the rows of it that are kept, each [..., row, pos].
    """
    upto, n_ctx = len(rows) if upto is None else upto, rows.shape[1]
    size = size or rows_per_batch(n_ctx, reader.device.type == "cpu")
    flights = _launched(reader, rows, first, upto, size, watch)
    with tqdm(total=(upto - first) * n_ctx, desc=what, unit="token", unit_scale=True, mininterval=2) as progress:
        for flight in _one_behind(flights):
            parts = flight.fetch()
            if watch:
                watch.add(flight.batch, n_ctx, flight.seen)
            yield flight.batch, parts
            progress.update((flight.batch.upto - flight.batch.first) * n_ctx)


class _Flight:
    """A batch on its way through the device."""

    def __init__(self, reader: RowReader, rows: Any, batch: Batch, watch: NeuronWatch | None) -> None:
        self.batch = batch
        self.seen: dict[int, Seen] = {}
        ids = checked_ids(reader, rows[batch.start : batch.stop], batch.start)
        sent = torch.from_numpy(ids.astype(np.int64))
        if reader.device.type == "cuda":
            sent = sent.pin_memory()
        with hooked(watch.hooks(batch, len(ids), self.seen) if watch else []):
            parts = reader.read(sent.to(reader.device, non_blocking=True))
        self._parts = _sent_home(parts)
        self.seen = {layer: Seen(*_sent_home(seen)) for layer, seen in self.seen.items()}
        self._arrived: torch.cuda.Event | None = None
        if reader.device.type == "cuda":
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(reader.device))
        elif reader.device.type == "mps":
            torch.mps.synchronize()

    def fetch(self) -> list[np.ndarray]:
        """Return the kept rows, once they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [part[..., self.batch.kept, :].numpy() for part in self._parts]


def _sent_home(parts: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    return [part.to("cpu", non_blocking=True) for part in parts]  # pinned where that helps


def _launched(
    reader: RowReader, rows: Any, first: int, upto: int, size: int, watch: NeuronWatch | None
) -> Iterator[_Flight]:
    """Launch one batch after the other; after running out of memory, with half as many rows."""
    while first < upto:
        try:
            flight = _Flight(reader, rows, batch_from(first, upto, size), watch)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            size = _halved(size)
            continue
        yield flight
        first = flight.batch.upto


def _one_behind(flights: Iterable[_Flight]) -> Iterator[_Flight]:
    """Hand on each batch when the next one is launched."""
    waiting: _Flight | None = None
    for flight in flights:
        if waiting:
            yield waiting
        waiting = flight
    if waiting:
        yield waiting


def _halved(size: int) -> int:
    if size == 1:
        raise UserError("Not even one row of the corpus fits the device's memory.", "corpus: {n_ctx: 256}")
    log.warning("The device ran out of memory; going on with %d rows at a time.", size // 2)
    torch.cuda.empty_cache()
    return size // 2


def checked_ids(reader: RowReader, ids: np.ndarray, start: int) -> np.ndarray:
    """Refuse ids that the embedding does not have, which a GPU would answer with a crash."""
    if wrong := np.argwhere((ids < 0) | (ids >= reader.d_vocab)).tolist():
        row, pos = wrong[0]
        raise UserError(
            f"Row {start + row} of the corpus has token {ids[row, pos]} at position {pos}, beyond the model's "
            f"vocabulary of {reader.d_vocab}; its tokenizer.json belongs to another model."
        )
    return ids


def _check_finite(reader: Reader, recorded: Recorded, start: int) -> None:
    """Stop at the first activation, margin or other value that is not a finite number."""
    for name in ("activation", "margin", "logit_difference", "expected"):
        values = getattr(recorded, name)
        if values is None or np.isfinite(values).all():
            continue
        *number, row, pos = place = np.argwhere(~np.isfinite(values))[0].tolist()
        what = f"{name.replace('_', ' ')} of {_whose(reader, name, number)}"
        raise UserError(
            f"The {what} is {float(values[tuple(place)])} in row {start + row} of the corpus at position {pos}; the "
            f"weights may be damaged, or too large for precision {reader.precision!r}."
        )


def _whose(reader: Reader, name: str, number: list[int]) -> str:
    """Return of what a value is that `Recorded` calls so."""
    if name == "activation":
        association = reader.associations[number[0]]
        return f"neuron {association.index} of layer {association.layer}"
    return "a token" if name == "margin" else "answer and foil"
