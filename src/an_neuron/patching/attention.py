"""Attention of many rows that share their first keys and values.

Registered with transformers as an attention implementation, so that every architecture's own block calls it. While a
`SharedPrefix` is active, the rows' queries meet the prefix keys of the corrupted run in one product for all rows,
instead of each row getting a copy of them, and head activations can be read and patched.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from an_neuron.errors import UserError

NAME = "an_neuron_shared_prefix"
HEAD_SITES = ("q", "k", "v", "pattern", "z")

Change = Callable[[int, str, Tensor], Tensor]
"""(layer, site, activation [row, head, pos, ...]) -> the activation that goes on."""


@dataclass
class SharedPrefix:
    """Keys and values, by layer, of the positions that all rows share: [kv_head, prefix, d_head].

    `change` sees the rows' q, k, v, pattern and z of every layer and may return other ones.
    """

    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)
    change: Change | None = None


_active: SharedPrefix | None = None


@contextmanager
def sharing(prefix: SharedPrefix) -> Iterator[None]:
    """Let attention take the first keys and values from a prefix as long as the context lasts."""
    global _active
    before, _active = _active, prefix
    try:
        yield
    finally:
        _active = before


def ordinary() -> Any:
    """Return a context in which attention is the ordinary one, without a prefix."""
    return sharing(SharedPrefix())


def shared_prefix_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend from every row's positions to the shared prefix and to the row's own positions.

    Parameters
    ----------
    module
        The block's attention; its `layer_idx` finds the prefix.
    query
        [row, head, pos, d_head].
    key, value
        [row, kv_head, pos, d_head], of the row's own positions.
    attention_mask
        Added to the scores, [row or 1, 1, pos, prefix + pos], or None.
    scaling, softcap
        As the architecture asks.

    Returns
    -------
    tuple
        The heads' outputs, [row, pos, head, d_head], and None.
    """
    unknown = {name for name in ("position_bias", "s_aux", "sinks", "head_mask") if kwargs.get(name) is not None}
    if unknown:
        raise UserError(f"This architecture's attention uses {', '.join(unknown)}, which exact patching does not know.")
    prefix, layer = _active or SharedPrefix(), int(module.layer_idx)  # type: ignore[arg-type]
    change = prefix.change or (lambda _layer, _site, activation: activation)
    query, key, value = (change(layer, site, part) for site, part in (("q", query), ("k", key), ("v", value)))
    d_head, n_own = query.shape[-1], key.shape[2]
    heads = query.unflatten(1, (key.shape[1], -1))  # [row, kv_head, group, pos, d_head]
    scores = heads @ key.unsqueeze(2).mT
    shared = prefix.keys.get(layer)
    if shared is not None:
        scores = torch.cat([_with_all_rows(heads, shared.mT), scores], dim=-1)
    scores = scores.flatten(1, 2) * (d_head**-0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if attention_mask is not None:
        scores = scores + attention_mask
    pattern = change(layer, "pattern", scores.softmax(-1))
    weights = pattern.unflatten(1, (key.shape[1], -1))
    n_shared = pattern.shape[-1] - n_own
    z = weights[..., n_shared:] @ value.unsqueeze(2)
    if shared is not None:
        z = z + _with_all_rows(weights[..., :n_shared], prefix.values[layer])
    return change(layer, "z", z.flatten(1, 2)).transpose(1, 2).contiguous(), None


def _with_all_rows(left: Tensor, shared: Tensor) -> Tensor:
    """Multiply [row, kv_head, group, pos, m] with one matrix a key head, [kv_head, m, n], in one product of all rows.

    Returns [row, kv_head, group, pos, n]. Without groups no row's part is moved in memory, only the strides say where
    it is.
    """
    rows, kv_heads, groups, pos, m = left.shape
    by_head = left.permute(1, 0, 3, 2, 4).reshape(kv_heads, -1, m)  # [kv_head, row·pos·group, m]
    product = torch.bmm(by_head, shared).view(kv_heads, rows, pos, groups, -1)
    return product.permute(1, 0, 3, 2, 4)


AttentionInterface.register(NAME, shared_prefix_attention)
AttentionMaskInterface.register(NAME, eager_mask)
