"""Attention of many rows that share their first keys and values.

Registered with transformers as an attention implementation, so that every architecture's block calls it. While an
engine's modules are under a `SharedPrefix`, the rows' queries meet the prefix keys of the corrupted run in one product
for all rows, instead of each row getting a copy of them, and patterns can be read and patched.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from an_neuron.errors import UserError
from an_neuron.model.products import seconds

log = logging.getLogger(__name__)
NAME = "an_neuron_shared_prefix"
TRIED_ROWS = 2048
"""On which kernels for a GPU are tried."""
UNSUPPORTED = ("position_bias", "sinks", "head_mask")
"""What some architectures pass to their attention function, and this one does not know."""

Change = Callable[[int, Tensor], Tensor]
"""(layer, pattern [row, head, pos, prefix + pos]) -> the pattern that goes on."""


def unchanged(_layer: int, pattern: Tensor) -> Tensor:
    """Let a pattern go on as it is."""
    return pattern


@dataclass(frozen=True)
class SharedPrefix:
    """Keys and values, by layer, of the positions that all rows share: [kv_head, prefix, d_head].

    `change` sees the rows' patterns of every layer and may return other ones; `see` sees keys and values.
    """

    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)
    change: Change = unchanged
    see: Callable[[int, Tensor, Tensor], None] | None = None


ORDINARY = SharedPrefix()
"""No prefix: ordinary attention."""


class Attention:
    """The attention modules of one engine, which run under one prefix at a time.

    Each module carries this object, so that the attention function finds the prefix of the engine that called it:
    engines live side by side, and other models are ordinary.
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        self.prefix = ORDINARY
        for layer, block in enumerate(blocks):
            for module in block.modules():
                module.an_neuron_attention = self, layer  # type: ignore[assignment]

    @contextmanager
    def under(self, prefix: SharedPrefix) -> Iterator[None]:
        """Let the modules take their first keys and values from a prefix as long as the context lasts."""
        before, self.prefix = self.prefix, prefix
        try:
            yield
        finally:
            self.prefix = before


def shared_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend from every row's positions to the shared prefix and to the row's own positions.

    Parameters
    ----------
    module
        The block's attention.
    query
        [row, head, pos, d_head].
    key, value
        [row, kv_head, pos, d_head], of the row's own positions.
    attention_mask
        Added to the scores, [row or 1, 1, pos, prefix + pos], or None.
    scaling, softcap
        As the architecture asks.
    s_aux
        A score for each head that no key has, a sink (GPT-OSS), [head].

    Returns
    -------
    tuple
        The heads' outputs, [row, pos, head, d_head], and None.
    """
    if unknown := [name for name in UNSUPPORTED if kwargs.get(name) is not None]:
        raise UserError(f"This architecture's attention uses {', '.join(unknown)}, which exact patching does not know.")
    attention, layer = getattr(module, "an_neuron_attention", (None, 0))
    prefix: SharedPrefix = ORDINARY if attention is None else attention.prefix
    if prefix.see is not None:
        prefix.see(layer, key, value)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    shared = (prefix.keys[layer], prefix.values[layer]) if layer in prefix.keys else None
    plain = prefix.change is unchanged and softcap is None and s_aux is None
    if plain and (fused := _kernels_for(query, key, value, attention_mask)) is not None:
        return fused.attention(query, key, value, shared, attention_mask, scaling), None

    def pattern(scores: Tensor) -> Tensor:
        return prefix.change(layer, _pattern(scores, attention_mask, softcap, s_aux))

    return _by_torch(query, key, value, shared, scaling, pattern), None


def _by_torch(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    shared: tuple[Tensor, Tensor] | None,
    scaling: float,
    pattern: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the heads' outputs, [row, pos, head, d_head], by the pattern that is made of the scores."""
    keys, values = shared or (None, None)
    z = _weighted(pattern(_scores(query, key, keys) * scaling), value, values)
    return rearrange(z, "row head pos d_head -> row pos head d_head").contiguous()


def _kernels_for(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> ModuleType | None:
    """Return the kernels of `fused` where they fit: float32 on a GPU, a mask for all heads, and no gradient."""
    if not query.is_cuda or query.dtype != torch.float32 or value.shape[-1] != query.shape[-1]:
        return None
    if (torch.is_grad_enabled() and query.requires_grad) or (mask is not None and mask.shape[1] != 1):
        return None
    return fused_on(query.device, query.shape[1] // key.shape[1], query.shape[-1])


@cache
def fused_on(device: torch.device, group: int = 1, d_head: int = 64) -> ModuleType | None:
    """Return the kernels of `fused` if they work on a GPU, are as exact as torch's operations, and faster.

    They are tried with heads of a width, so many of which share a key head.
    """
    if device.type != "cuda":
        return None
    try:
        from an_neuron.patching import fused

        chance = torch.Generator(device).manual_seed(0)
        draw = partial(torch.randn, device=device, generator=chance)
        query, (key, value) = draw(TRIED_ROWS, 8 * group, 4, d_head), draw(2, TRIED_ROWS, 8, 4, d_head)
        shared = key[:2, :, :3].unbind()
        one = partial(fused.attention, query, key, value, shared, None, 0.1)
        other = partial(_by_torch, query, key, value, shared, 0.1, partial(torch.softmax, dim=-1))
        same = torch.allclose(one(), other(), atol=1e-5)
        change, base = fused.change_in_bfloat16(query[:, 0], key[0, 0]), (query[:, 0] - key[0, 0]).bfloat16()
        return fused if same and change.equal(base) and seconds(one, device) < seconds(other, device) else None
    except Exception as error:  # Triton may be missing, or miss a compiler: torch's own operations do as well
        log.info("Waves run in torch's own operations: %s", error)
        return None


def _pattern(scores: Tensor, mask: Tensor | None, softcap: float | None, sink: Tensor | None) -> Tensor:
    """Return the softmax of scores [row, head, pos, key], capped and masked, over the keys and any sink."""
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if mask is not None:
        scores = scores + mask
    if sink is None:
        return scores.softmax(-1)
    with_sink = torch.cat([scores, sink.view(1, -1, 1, 1).expand(*scores.shape[:-1], 1)], dim=-1)
    return with_sink.softmax(-1)[..., :-1]


def _scores(query: Tensor, key: Tensor, shared: Tensor | None) -> Tensor:
    """Return the products of queries and keys, [row, head, pos, prefix + pos], those of the shared prefix first."""
    grouped = _grouped(query, key.shape[1])
    scores = grouped @ rearrange(key, "row kv_head pos d_head -> row kv_head 1 d_head pos")
    if shared is not None:
        with_shared = _with_all_rows(grouped, rearrange(shared, "kv_head prefix d_head -> kv_head d_head prefix"))
        scores = torch.cat([with_shared, scores], dim=-1)
    return _ungrouped(scores)


def _weighted(pattern: Tensor, value: Tensor, shared: Tensor | None) -> Tensor:
    """Return the values weighted by the pattern [row, head, pos, prefix + pos], [row, head, pos, d_head]."""
    weights, n_shared = _grouped(pattern, value.shape[1]), pattern.shape[-1] - value.shape[2]
    z = weights[..., n_shared:] @ rearrange(value, "row kv_head pos d_head -> row kv_head 1 pos d_head")
    if shared is not None:
        z = z + _with_all_rows(weights[..., :n_shared], shared)
    return _ungrouped(z)


def _grouped(activation: Tensor, n_kv_heads: int) -> Tensor:
    """Divide the heads into groups that share a key head."""
    return rearrange(activation, "row (kv_head group) pos m -> row kv_head group pos m", kv_head=n_kv_heads)


def _ungrouped(activation: Tensor) -> Tensor:
    return rearrange(activation, "row kv_head group pos m -> row (kv_head group) pos m")


def _with_all_rows(left: Tensor, shared: Tensor) -> Tensor:
    """Multiply [row, kv_head, group, pos, m] with one matrix per key head, [kv_head, m, n], in one product of all rows.

    Returns [row, kv_head, group, pos, n]. Without groups no row's part is moved in memory, only the strides say where
    it is.
    """
    rows, _, groups, pos, _ = left.shape
    product = torch.bmm(rearrange(left, "row kv_head group pos m -> kv_head (row pos group) m"), shared)
    return rearrange(product, "kv_head (row pos group) n -> row kv_head group pos n", row=rows, pos=pos, group=groups)


AttentionInterface.register(NAME, shared_prefix_attention)
AttentionMaskInterface.register(NAME, eager_mask)
