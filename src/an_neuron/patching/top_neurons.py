"""The neurons of the largest recovery, and the tokens that patching them moves.

Patching a neuron adds to the residual stream the change of its activation times W_out. So what it raises and lowers in
the logits directly are the tokens with the largest and smallest sign(change) * W_out . W_U.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.model.decoder import Decoder
from an_neuron.model.tokenizer import Tokenizer

N_TOP, N_LEAST, SHARE = 200, 10, 0.01
"""The top list is the hundredth part of all neurons, but at least 10 and at most 200."""
LEAST = 1e-6
"""Absolute recoveries up to this are rounding, or of silent neurons, which are not in the list."""
N_TOKENS = 5


@dataclass(frozen=True)
class TopNeurons:
    """The neurons of the largest absolute recovery, largest first.

    Attributes
    ----------
    layer, index, recovery
        [rank].
    change
        Of their activation, clean - corrupted, [rank].
    raised, lowered
        The tokens whose logits the patch moves most directly, [rank][k].
    """

    layer: list[int]
    index: list[int]
    recovery: list[float]
    change: list[float]
    raised: list[list[str]]
    lowered: list[list[str]]


@torch.inference_mode()
def top_neurons(
    model: TransformerBridge,
    tokenizer: Tokenizer,
    layers: Sequence[int],
    recovery: Tensor,
    change: Tensor,
    unembedding: Tensor | None = None,
    number: int | None = None,
) -> TopNeurons:
    """Return the neurons of the largest absolute recovery, and the tokens that patching them raises and lowers.

    Parameters
    ----------
    model
        A bridge; its weights are processed, unless `unembedding` is given.
    tokenizer
        For the tokens' texts.
    layers
        The layers that were swept.
    recovery
        Of each of their neurons, [layer, d_mlp]; NaN of those that were not patched.
    change
        The change of each neuron's activation, [layer, d_mlp]; only its sign decides on tokens.
    unembedding
        In place of the model's W_U, [d_model, d_vocab]; that of `folded_unembedding`, as a rule.
    number
        How many; by default the hundredth part of all, but at least 10 and at most 200.
    """
    d_mlp, sizes = recovery.shape[1], recovery.abs().flatten()
    sizes = sizes.masked_fill(sizes.isnan(), 0)  # what was not patched is in no list
    number = number or min(N_TOP, max(N_LEAST, round(SHARE * len(sizes))))
    order = [place for place in sizes.argsort(descending=True, stable=True)[:number].tolist() if sizes[place] > LEAST]
    neurons = [(layers[place // d_mlp], place % d_mlp) for place in order]
    changes = change.flatten()[order].tolist()
    w_u = model.W_U if unembedding is None else unembedding
    moved = [
        moved_tokens(model.blocks[layer].mlp.W_out[index], w_u, one)
        for (layer, index), one in zip(neurons, changes, strict=True)
    ]
    return TopNeurons(
        layer=[layer for layer, _ in neurons],
        index=[index for _, index in neurons],
        recovery=recovery.flatten()[order].tolist(),
        change=changes,
        raised=[tokenizer.texts(raised) for raised, _ in moved],
        lowered=[tokenizer.texts(lowered) for _, lowered in moved],
    )


def moved_tokens(w_out: Tensor, w_u: Tensor, change: float) -> tuple[list[int], list[int]]:
    """Return the tokens that a change of a neuron's activation raises most, and those that it lowers most.

    Parameters
    ----------
    w_out
        The neuron's output weights, [d_model].
    w_u
        The unembedding, the final norm's weights folded in, [d_model, d_vocab].
    change
        Of its activation; only its sign counts.
    """
    direct = (-1 if change < 0 else 1) * (w_out @ w_u)
    return direct.topk(N_TOKENS).indices.tolist(), direct.topk(N_TOKENS, largest=False).indices.tolist()


@torch.inference_mode()
def folded_unembedding(model: TransformerBridge) -> Tensor:
    """Return W_U with the final norm's weights folded in, centred over tokens, [d_model, d_vocab]; none is changed.

    The weights are asked of the norm itself, whatever kind it is: of a vector with mean 0 and mean square 1 it returns
    their product and its bias, and of a constant vector the bias alone where it takes the mean away.
    """
    decoder = Decoder(model, "sdpa")
    w_u = decoder.unembed.weight
    sign = torch.ones(w_u.shape[1], dtype=w_u.dtype, device=w_u.device)
    centres = _without_bias(decoder, sign).abs().max() == 0
    sign[1::2] = -1
    folded = rearrange(w_u * (_without_bias(decoder, sign) * sign), "d_vocab d_model -> d_model d_vocab")
    folded -= folded.mean(1, keepdim=True)  # what raises all tokens alike raises none
    return folded - folded.mean(0) if centres else folded


def _without_bias(decoder: Decoder, residual: Tensor) -> Tensor:
    """Return what the final norm makes of a residual stream, without its bias, [d_model]."""
    forward, backward = decoder.norm(torch.stack([residual, -residual]))
    return (forward - backward) / 2
