"""Kernels for GPUs: attention of many rows behind a shared prefix, and changes in bfloat16.

What takes torch a dozen operations, each a pass over memory, is one kernel here: a program for some rows and a key head
reads their queries, keys and values once, and the shared ones from the cache. Each product is made of three in TF32,
which together are as exact as float32.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 16
"""Queries, and keys, that are multiplied at once: a few rows', as prompts are short behind their first difference."""


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shared: tuple[Tensor, Tensor] | None,
    mask: Tensor | None,
    scaling: float,
) -> Tensor:
    """Return the heads' outputs, [row, pos, head, d_head].

    Parameters
    ----------
    query
        [row, head, pos, d_head], float32.
    key, value
        [row, kv_head, pos, d_head].
    shared
        Keys and values that come before every row's own, [kv_head, prefix, d_head] each.
    mask
        Added to the scores, [row or 1, 1, pos, prefix + pos].
    scaling
        Of the scores.
    """
    rows, heads, pos, width = query.shape
    kv_heads, group = key.shape[1], heads // key.shape[1]
    out = query.new_empty(rows, pos, heads, width)
    if rows == 0:
        return out
    before, behind = shared or (key[0, :, :0], value[0, :, :0])
    prefix = before.shape[1]
    mask = query.new_zeros(1, 1, pos, prefix + pos) if mask is None else mask.expand(-1, -1, pos, prefix + pos)
    at_once = max(1, TILE // (group * pos))
    grid = triton.cdiv(rows, at_once), kv_heads, triton.cdiv(at_once * group * pos, TILE)
    _attend[grid](
        query, key, value, before, behind, mask, out,
        *query.stride(), *key.stride(), *value.stride(), *before.stride(), *behind.stride(),
        mask.stride(0) if len(mask) > 1 else 0, mask.stride(2), mask.stride(3),
        scaling, rows, prefix, pos, width, heads,
        at_once=at_once, group=group, tile=TILE, padded=max(16, triton.next_power_of_2(width)),
    )  # fmt: skip
    return out


@triton.jit
def _attend(
    query, key, value, before, behind, mask, out,
    q_row, q_head, q_pos, q_d, k_row, k_head, k_pos, k_d, v_row, v_head, v_pos, v_d,
    b_head, b_pos, b_d, c_head, c_pos, c_d, m_row, m_pos, m_key,
    scaling, rows, prefix, pos, width, heads,
    at_once: tl.constexpr, group: tl.constexpr, tile: tl.constexpr, padded: tl.constexpr,
):  # fmt: skip
    first_row, kv_head = tl.program_id(0).to(tl.int64) * at_once, tl.program_id(1)
    one = tl.program_id(2) * tile + tl.arange(0, tile)  # of the rows' queries, of a group of heads at all positions
    row = first_row + one // (group * pos)
    head, at = kv_head * group + one // pos % group, one % pos
    there = (one < at_once * group * pos) & (row < rows)
    d = tl.arange(0, padded)
    q = tl.load(
        query + row[:, None] * q_row + head[:, None] * q_head + at[:, None] * q_pos + d[None, :] * q_d,
        mask=there[:, None] & (d < width)[None, :],
        other=0.0,
    )
    mask_at = mask + row[:, None] * m_row + at[:, None] * m_pos
    most = tl.full([tile], -1e30, tl.float32)
    total = tl.zeros([tile], tl.float32)
    summed = tl.zeros([tile, padded], tl.float32)
    for first in range(0, prefix, tile):
        each = first + tl.arange(0, tile)
        valid = (each < prefix)[:, None] & (d < width)[None, :]
        k = tl.load(before + kv_head * b_head + each[:, None] * b_pos + d[None, :] * b_d, mask=valid, other=0.0)
        v = tl.load(behind + kv_head * c_head + each[:, None] * c_pos + d[None, :] * c_d, mask=valid, other=0.0)
        seen = there[:, None] & (each < prefix)[None, :]
        added = tl.load(mask_at + each[None, :] * m_key, mask=seen, other=0.0)
        most, total, summed = _met(q, k, v, added, seen, most, total, summed, scaling)
    for first in range(0, at_once * pos, tile):
        each = first + tl.arange(0, tile)
        of_row, of_pos = first_row + each // pos, each % pos
        known = (each < at_once * pos) & (of_row < rows)
        valid = known[:, None] & (d < width)[None, :]
        own_keys, own_values = of_row[:, None] * k_row + of_pos[:, None] * k_pos, of_row[:, None] * v_row
        k = tl.load(key + kv_head * k_head + own_keys + d[None, :] * k_d, mask=valid, other=0.0)
        own_values += of_pos[:, None] * v_pos + kv_head * v_head
        v = tl.load(value + own_values + d[None, :] * v_d, mask=valid, other=0.0)
        seen = there[:, None] & known[None, :] & (row[:, None] == of_row[None, :])
        added = tl.load(mask_at + (prefix + of_pos)[None, :] * m_key, mask=seen, other=0.0)
        most, total, summed = _met(q, k, v, added, seen, most, total, summed, scaling)
    tl.store(
        out + ((row[:, None] * pos + at[:, None]) * heads + head[:, None]) * width + d[None, :],
        summed / total[:, None],
        mask=there[:, None] & (d < width)[None, :],
    )


@triton.jit
def _met(q, k, v, added, seen, most, total, summed, scaling):
    """Let queries meet some keys; what they have met before goes on in the running softmax."""
    scores = tl.dot(q, tl.trans(k), input_precision="tf32x3") * scaling + added
    scores = tl.where(seen, scores, float("-inf"))
    higher = tl.maximum(most, tl.max(scores, 1))
    kept, weights = tl.exp(most - higher), tl.exp(scores - higher[:, None])
    summed = summed * kept[:, None] + tl.dot(weights, v, input_precision="tf32x3")
    return higher, total * kept + tl.sum(weights, 1), summed


def change_in_bfloat16(entering: Tensor, base: Tensor) -> Tensor:
    """Return `entering` [row, pos, d] minus `base` [pos, d], rounded to bfloat16 as it is written: one pass."""
    entering, base = entering.contiguous(), base.contiguous()
    change = torch.empty_like(entering, dtype=torch.bfloat16)
    block = 1024
    _subtract[(len(entering), triton.cdiv(base.numel(), block))](entering, base, change, base.numel(), block=block)
    return change


@triton.jit
def _subtract(entering, base, change, size, block: tl.constexpr):
    at = tl.program_id(1) * block + tl.arange(0, block)
    there, start = at < size, tl.program_id(0).to(tl.int64) * size
    difference = tl.load(entering + start + at, mask=there) - tl.load(base + at, mask=there)
    tl.store(change + start + at, difference.to(tl.bfloat16), mask=there)
