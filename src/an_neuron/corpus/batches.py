"""How the rows of a corpus are divided into batches and shards."""

from dataclasses import dataclass

from an_neuron.errors import UserError

TOKENS_PER_BATCH = 2048
"""How many tokens run at once on a CPU, where larger batches are no faster."""
ON_ACCELERATOR = 8
"""How many times as many run at once on an accelerator."""


@dataclass(frozen=True)
class Batch:
    """Rows start:stop of a corpus, which run at once, of which first:upto are kept."""

    start: int
    stop: int
    first: int
    upto: int

    @property
    def kept(self) -> slice:
        """The kept rows, counted from the batch's first."""
        return slice(self.first - self.start, self.upto - self.start)


def batch_from(row: int, upto: int, size: int) -> Batch:
    """Return the batch that holds a row, of which the rows from it on and below `upto` are kept.

    Batches stand at multiples of their size whichever rows are asked for, since a row's last digits depend on the
    others in its batch.
    """
    start = row - row % size
    return Batch(start, start + size, row, min(start + size, upto))


def rows_per_batch(n_ctx: int, on_cpu: bool) -> int:
    """Return how many rows of n_ctx tokens run at once; always at least one."""
    return max(1, TOKENS_PER_BATCH // n_ctx) * (1 if on_cpu else ON_ACCELERATOR)


def shard_rows(n_rows: int, n_ctx: int, shard: int, n_shards: int) -> tuple[int, int]:
    """Return the first row of a shard and the one after its last.

    Shards end where batches end, so that no batch runs twice; where there are too few batches for that, at any row.

    Parameters
    ----------
    n_rows, n_ctx
        The corpus' rows and their length.
    shard
        Which shard, counted from 0.
    n_shards
        How many there are.

    Raises
    ------
    UserError
        If there are more shards than rows.
    """
    if n_shards > n_rows:
        raise UserError(
            f"The corpus has {n_rows} rows, which cannot be divided among {n_shards} shards.", f"shards: {n_rows}"
        )
    sizes = (rows_per_batch(n_ctx, on_cpu=False), rows_per_batch(n_ctx, on_cpu=True), 1)
    size = next(size for size in sizes if -(-n_rows // size) >= n_shards)
    n_units = -(-n_rows // size)
    first, upto = (size * (number * n_units // n_shards) for number in (shard, shard + 1))
    return first, min(upto, n_rows)
