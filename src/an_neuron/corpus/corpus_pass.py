"""One pass of a reader over rows of a corpus.

Batches are launched one ahead of the one that is fetched, so that the device works while the host writes. A batch that
does not fit the device's memory is launched again with half as many rows.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from an_neuron.corpus.batches import Batch, batch_from, rows_per_batch
from an_neuron.corpus.reader import Reader
from an_neuron.corpus.recorded import Recorded
from an_neuron.errors import UserError, is_out_of_memory

log = logging.getLogger(__name__)


def record(
    reader: Reader, rows: Any, first: int = 0, upto: int | None = None, size: int | None = None
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
    upto, n_ctx = len(rows) if upto is None else upto, rows.shape[1]
    batches = _launched(reader, rows, first, upto, size or rows_per_batch(n_ctx, reader.on_cpu))
    with tqdm(total=(upto - first) * n_ctx, desc="corpus", unit="token", unit_scale=True, mininterval=2) as progress:
        for recorded in _fetched_one_behind(batches):
            yield recorded
            progress.update(recorded.top_prediction.size)


class _Flight:
    """A batch on its way through the device."""

    def __init__(self, reader: Reader, rows: Any, batch: Batch) -> None:
        self.batch, self._reader = batch, reader
        ids = _checked_ids(reader, rows[batch.start : batch.stop], batch.start)
        sent = torch.from_numpy(ids.astype(np.int64))
        if reader.device.type == "cuda":
            sent = sent.pin_memory()
        parts = reader.read(sent.to(reader.device, non_blocking=True))
        self._parts = [part.to("cpu", non_blocking=True) for part in parts]  # pinned where that helps
        self._arrived: torch.cuda.Event | None = None
        if reader.device.type == "cuda":
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(reader.device))
        elif reader.device.type == "mps":
            torch.mps.synchronize()

    def fetch(self) -> Recorded:
        """Return the kept rows, once they are there; stop where they are not finite numbers."""
        if self._arrived is not None:
            self._arrived.synchronize()
        recorded = Recorded(*(part[..., self.batch.kept, :].numpy() for part in self._parts))
        _check_finite(self._reader, recorded, self.batch.first)
        return recorded


def _launched(reader: Reader, rows: Any, first: int, upto: int, size: int) -> Iterator[_Flight]:
    """Launch one batch after the other; after running out of memory, with half as many rows."""
    while first < upto:
        try:
            flight = _Flight(reader, rows, batch_from(first, upto, size))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            size = _halved(size)
            continue
        yield flight
        first = flight.batch.upto


def _fetched_one_behind(flights: Iterable[_Flight]) -> Iterator[Recorded]:
    """Fetch each batch when the next one is launched."""
    waiting: _Flight | None = None
    for flight in flights:
        if waiting:
            yield waiting.fetch()
        waiting = flight
    if waiting:
        yield waiting.fetch()


def _halved(size: int) -> int:
    if size == 1:
        raise UserError("Not even one row of the corpus fits the device's memory.", "corpus: {n_ctx: 256}")
    log.warning("The device ran out of memory; going on with %d rows at a time.", size // 2)
    torch.cuda.empty_cache()
    return size // 2


def _checked_ids(reader: Reader, ids: np.ndarray, start: int) -> np.ndarray:
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
