from itertools import pairwise

import pytest

from an_neuron.corpus.batches import Batch, batch_from, rows_per_batch, shard_rows
from an_neuron.errors import UserError


@pytest.mark.parametrize("n_rows", [1, 2, 7, 31, 1005])
@pytest.mark.parametrize("n_ctx", [1, 128, 1000, 5000])
def test_shards_divide_the_rows_among_them(n_rows, n_ctx):
    for n_shards in {1, min(2, n_rows), min(7, n_rows), n_rows}:
        bounds = [shard_rows(n_rows, n_ctx, shard, n_shards) for shard in range(n_shards)]
        assert bounds[0][0] == 0
        assert bounds[-1][1] == n_rows
        assert all(end == start for (_, end), (start, _) in pairwise(bounds))
        assert all(first < upto for first, upto in bounds)
        if n_shards * rows_per_batch(n_ctx, on_cpu=False) <= n_rows:
            assert all(first % rows_per_batch(n_ctx, on_cpu=False) == 0 for first, _ in bounds)


def test_more_shards_than_rows_are_refused():
    with pytest.raises(UserError, match="5 rows, which cannot be divided among 6 shards") as caught:
        shard_rows(5, 128, 0, 6)
    assert caught.value.setting == "shards: 5"


def test_batches_hold_at_least_a_row():
    assert [rows_per_batch(n_ctx, on_cpu=True) for n_ctx in (1, 1024, 1500, 9000)] == [2048, 2, 1, 1]
    assert rows_per_batch(9000, on_cpu=False) == 8 * rows_per_batch(9000, on_cpu=True)


def test_batches_stand_at_multiples_of_their_size_whichever_rows_are_kept():
    assert batch_from(5, 9, 4) == Batch(start=4, stop=8, first=5, upto=8)
    assert batch_from(8, 9, 4) == Batch(start=8, stop=12, first=8, upto=9)
    assert batch_from(5, 9, 4).kept == slice(1, 4)
