"""Ranked congruence: every token's best neurons and every neuron's best tokens (notebook, cell 23)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.model.products import linear

TOP_NEURONS = Schema(
    "congruence/top_neurons.h5",
    "each token's best neurons",
    {
        "value": Field("d_vocab k", "float32", "", "W_E of the token dot W_out of the neuron, best first"),
        "layer": Field("d_vocab k", "int32", "", "the neuron's layer"),
        "index": Field("d_vocab k", "int32", "", "the neuron's number in its layer"),
        "token": Field("d_vocab", "text", "", "text of each token id"),
    },
)
TOP_TOKENS = Schema(
    "congruence/top_tokens.h5",
    "each neuron's best tokens",
    {
        "value": Field("layer d_mlp k", "float32", "", "W_E of the token dot W_out of the neuron, best first"),
        "token": Field("layer d_mlp k", "int32", "token id", "the token"),
    },
)


@dataclass(frozen=True)
class TopNeurons:
    """The most congruent neurons of every token, best first, each [d_vocab, k]."""

    value: Tensor
    layer: Tensor
    index: Tensor


@dataclass(frozen=True)
class TopTokens:
    """The most congruent tokens of every neuron, best first, each [n_layers, d_mlp, k]."""

    value: Tensor
    token: Tensor


@torch.inference_mode()
def rank_congruence(model: TransformerBridge, k: int = 2, chunk: int = 1024) -> tuple[TopNeurons, TopTokens]:
    """Return the largest dot products of the tokens' W_E with the neurons' W_out: every token's k, every neuron's k.

    Streams over layers and chunks of tokens, so that never more than [chunk, d_mlp] products exist. Of equal products
    that of the lowest layer, neuron or token comes first. Where there are fewer than k, the rest is -inf with the id 0.

    Parameters
    ----------
    model
        A bridge with processed weights.
    k
        How many neurons to keep for each token, and how many tokens for each neuron.
    chunk
        How many tokens at once.
    """
    d_vocab, d_mlp, device = model.W_E.shape[0], model.cfg.d_mlp, model.W_E.device
    neurons, tokens = _Largest(d_vocab, k, device), []
    for layer in tqdm(range(model.cfg.n_layers), desc="congruence", unit="layer"):
        w_out = model.blocks[layer].mlp.W_out.contiguous()  # [d_mlp, d_model]
        tokens.append(_Largest(d_mlp, k, device))
        for first in range(0, d_vocab, chunk):
            rows = slice(first, first + chunk)
            products = linear(model.W_E[rows], w_out)  # [chunk, d_mlp]
            neurons.add(rows, products, first_id=layer * d_mlp)
            tokens[layer].add(slice(None), products.T, first_id=first)
    where = neurons.ids.cpu()
    return (
        TopNeurons(neurons.values.cpu(), where // d_mlp, where % d_mlp),
        TopTokens(torch.stack([of.values for of in tokens]).cpu(), torch.stack([of.ids for of in tokens]).cpu()),
    )


class _Largest:
    """The k largest values of every row of a matrix whose columns come in parts, and their columns, each [row, k]."""

    def __init__(self, n_rows: int, k: int, device: torch.device) -> None:
        self.values = torch.full((n_rows, k), -torch.inf, device=device)
        self.ids = torch.zeros((n_rows, k), dtype=torch.long, device=device)

    def add(self, rows: slice, part: Tensor, first_id: int) -> None:
        """Take the next columns of some rows, [row, column]; parts must come in ascending order of their columns.

        A row whose largest new value does not beat its k-th keeps what it has, which is soon so for nearly all: to find
        the largest value alone is many times as fast as to find its column too.
        """
        k, held, ids = self.ids.shape[1], self.values[rows], self.ids[rows]
        better = torch.nonzero(~(part.amax(1) <= held[:, -1])).flatten()  # not `>`, which NaN would not pass
        if not len(better):
            return
        values, columns = _largest(part[better], k)
        values = torch.cat([held[better], values], dim=1)  # the older ones first, whose ids are lower
        columns = torch.cat([ids[better], columns + first_id], dim=1)
        values, order = _largest(values, k)
        held[better], ids[better] = values, columns.gather(1, order).masked_fill(values.isneginf(), 0)


def _largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest values of each row and their columns, of equal ones the first column, each [row, k].

    `max` promises that order and `topk` none (on a CPU it takes the last of equal ones), so that files might differ
    between devices. Each maximum is hidden while the next is sought, then put back: no second matrix is needed.
    """
    found = []
    for _ in range(min(k, values.shape[1])):
        found.append(values.max(dim=1, keepdim=True))
        values.scatter_(1, found[-1].indices, -torch.inf)
    for best in reversed(found):
        values.scatter_(1, best.indices, best.values)
    return torch.cat([best.values for best in found], dim=1), torch.cat([best.indices for best in found], dim=1)


def write_top_neurons(
    path: Path, neurons: TopNeurons, vocabulary: Sequence[str], attributes: Mapping[str, Any]
) -> None:
    """Write congruence/top_neurons.h5, beside the text of each token."""
    hdf5.write(path, TOP_NEURONS, {**vars(neurons), "token": vocabulary}, attributes)


def write_top_tokens(path: Path, tokens: TopTokens, attributes: Mapping[str, Any]) -> None:
    """Write congruence/top_tokens.h5."""
    hdf5.write(path, TOP_TOKENS, vars(tokens), attributes)
