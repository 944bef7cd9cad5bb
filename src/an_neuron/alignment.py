"""Alignment: which tokens a neuron writes, and which neurons write a token (notebook, cells 21 to 23)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class NeuronAlignment:
    """Dot products of one neuron's weights with every token's directions, each [d_vocab]."""

    W_out_dot_W_U: Tensor
    W_out_dot_W_E: Tensor
    W_in_dot_W_E: Tensor


@dataclass(frozen=True)
class TopNeurons:
    """The best-aligned neurons of every token, best first, each [d_vocab, k]."""

    value: Tensor
    layer: Tensor
    neuron: Tensor


@torch.inference_mode()
def align_neuron(model: TransformerBridge, layer: int, index: int) -> NeuronAlignment:
    """Return the alignment of a neuron with every token.

    Parameters
    ----------
    model
        A bridge with processed weights, in whose coordinates W_out and W_U, W_E are comparable.
    layer, index
        The neuron.
    """
    mlp = model.blocks[layer].mlp
    w_out, w_in = mlp.W_out[index], mlp.W_in[:, index]  # each [d_model]
    return NeuronAlignment(
        W_out_dot_W_U=(w_out @ model.W_U).float().cpu(),
        W_out_dot_W_E=(model.W_E @ w_out).float().cpu(),
        W_in_dot_W_E=(model.W_E @ w_in).float().cpu(),
    )


@torch.inference_mode()
def align_tokens(model: TransformerBridge, k: int = 2, chunk: int = 1024) -> TopNeurons:
    """Return, for every token, the k neurons of the whole model whose W_out has the largest dot product with its W_E.

    Streams over layers and chunks of tokens, so that never more than [chunk, d_mlp] products exist.

    Parameters
    ----------
    model
        A bridge with processed weights.
    k
        How many neurons to keep for each token.
    chunk
        How many tokens at once.
    """
    d_vocab, d_mlp = model.W_E.shape[0], model.cfg.d_mlp
    best = torch.full((d_vocab, k), -torch.inf, device=model.W_E.device)
    where = torch.zeros((d_vocab, k), dtype=torch.long, device=model.W_E.device)
    for layer in tqdm(range(model.cfg.n_layers), desc="align tokens", unit="layer"):
        w_out = model.blocks[layer].mlp.W_out  # [d_mlp, d_model]
        for tokens in torch.arange(d_vocab, device=best.device).split(chunk):
            top = (model.W_E[tokens] @ w_out.T).topk(min(k, d_mlp), dim=-1)
            values = torch.cat([best[tokens], top.values], dim=-1)
            places = torch.cat([where[tokens], top.indices + layer * d_mlp], dim=-1)
            best[tokens], order = values.topk(k, dim=-1)
            where[tokens] = places.gather(-1, order)
    return TopNeurons(best.float().cpu(), (where // d_mlp).cpu(), (where % d_mlp).cpu())
