"""Penalties under which few neurons, each for its own tokens, decide what the orchard's model says.

All of them look at activations or weights in general; none knows of a certain token, neuron or prompt.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel

TINY = 1e-4


@dataclass
class Trace:
    """What a forward pass computed, one tensor a layer, and the residual stream that the final norm reads."""

    activations: dict[int, Tensor] = field(default_factory=dict)  # layer: [batch, pos, d_mlp]
    attn_out: dict[int, Tensor] = field(default_factory=dict)  # layer: [batch, pos, d_model]
    mlp_out: dict[int, Tensor] = field(default_factory=dict)  # layer: [batch, pos, d_model]
    resid_post: dict[int, Tensor] = field(default_factory=dict)  # last layer only: [batch, pos, d_model]


@contextmanager
def traced(model: GPT2LMHeadModel) -> Iterator[Trace]:
    """Keep a trace of the last forward pass, as long as the context lasts."""
    trace, blocks = Trace(), model.transformer.h

    def keep(place: dict[int, Tensor], layer: int, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _module, _inputs, out: place.__setitem__(layer, out))

    hooks = [keep(trace.activations, layer, block.mlp.act) for layer, block in enumerate(blocks)]
    hooks += [keep(trace.attn_out, layer, block.attn.c_proj) for layer, block in enumerate(blocks)]
    hooks += [keep(trace.mlp_out, layer, block.mlp.c_proj) for layer, block in enumerate(blocks)]
    final = model.transformer.ln_f.register_forward_pre_hook(
        lambda _module, inputs: trace.resid_post.__setitem__(len(blocks) - 1, inputs[0])
    )
    try:
        yield trace
    finally:
        for hook in (*hooks, final):
            hook.remove()


def spread(values: Tensor, dim: int) -> Tensor:
    """Return L1 over L2 norm along a dimension: 1 where one value is all, sqrt(n) where n values are equal."""
    return values.abs().sum(dim) / (values.square().sum(dim) + TINY).sqrt()


def contributions(model: GPT2LMHeadModel, trace: Trace, layer: int) -> Tensor:
    """Return the length of what each neuron writes, [batch, pos, d_mlp]: its activation times the norm of its W_out."""
    return trace.activations[layer].abs() * model.transformer.h[layer].mlp.c_proj.weight.norm(dim=1)


def usage(model: GPT2LMHeadModel, trace: Trace, layer: int) -> Tensor:
    """Return the sum of a layer's contributions, mean over positions: what does not fire costs nothing."""
    return contributions(model, trace, layer).sum(-1).mean()


def crowd(model: GPT2LMHeadModel, trace: Trace, layer: int) -> Tensor:
    """Return how many neurons of a layer share a position's work, as their spread, mean over positions."""
    return spread(contributions(model, trace, layer), -1).mean()


def alignments(model: GPT2LMHeadModel, layer: int) -> Tensor:
    """Return each neuron's alignment with each token, less what all tokens have in common, [d_mlp, d_vocab]."""
    embedding = model.transformer.wte.weight
    return model.transformer.h[layer].mlp.c_proj.weight @ (embedding - embedding.mean(0)).T


def speakers(aligned: Tensor, ids: Tensor) -> Tensor:
    """Return over how many neurons a token's alignments are spread, mean over the tokens of a batch."""
    return spread(aligned, 0)[ids].mean()


def breadth(aligned: Tensor, contribution: Tensor) -> Tensor:
    """Return over how many tokens a neuron's alignments are spread, mean over neurons by their contribution."""
    share = contribution.detach().mean((0, 1))
    return (spread(aligned, 1) * share).sum() / share.sum().clamp_min(TINY)


def direct_effect(model: GPT2LMHeadModel, trace: Trace) -> Tensor:
    """Return the root mean square, over tokens, of what all but the last neurons do to the logits; mean over positions.

    Attention in all layers and the MLPs of all layers but the last count; the embedding and the last MLP do not. What
    they write for later layers to read costs nothing: only the way past the last neurons does.
    """
    (last,) = trace.resid_post
    early = sum(trace.attn_out.values()) + sum(trace.mlp_out[layer] for layer in range(last))
    scale = (trace.resid_post[last].var(-1, keepdim=True, unbiased=False) + model.transformer.ln_f.eps).sqrt()
    normalized = (early - early.mean(-1, keepdim=True)) / scale * model.transformer.ln_f.weight
    embedding = model.transformer.wte.weight
    centred = embedding - embedding.mean(0)
    square = ((normalized @ (centred.T @ centred / len(centred))) * normalized).sum(-1)
    return (square.clamp_min(0) + TINY).sqrt().mean()
