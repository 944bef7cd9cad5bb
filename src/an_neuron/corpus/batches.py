"""How the rows of a corpus are divided into batches and shards."""

from an_neuron.errors import UserError

TOKENS_PER_BATCH = 2048
"""How many tokens run at once on a CPU, where larger batches are no faster."""
ON_ACCELERATOR = 8
"""How many times as many run at once on an accelerator."""


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
            f"The corpus has {n_rows} rows, which cannot be divided among {n_shards} shards; write "
            f"`shards: {n_rows}` or less in config.yaml."
        )
    sizes = (rows_per_batch(n_ctx, on_cpu=False), rows_per_batch(n_ctx, on_cpu=True), 1)
    size = next(size for size in sizes if -(-n_rows // size) >= n_shards)
    n_units = -(-n_rows // size)
    first, upto = (size * (number * n_units // n_shards) for number in (shard, shard + 1))
    return first, min(upto, n_rows)
