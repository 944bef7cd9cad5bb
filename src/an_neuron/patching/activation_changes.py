"""How much each neuron's activation changes between the two prompts of a pair: clean minus corrupted.

That is what patching the neuron adds to it. In gated models an activation, and so its change, has either sign; times
W_out it is what the patch writes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.model.decoder import Decoder
from an_neuron.model.hooks import Hook, hooked, rows_apart
from an_neuron.prompts.pairs import PromptPair


@torch.inference_mode()
def activation_changes(
    model: TransformerBridge, prompt_pairs: Sequence[PromptPair], layers: Sequence[int]
) -> list[Tensor]:
    """Return the change of hook_post of each neuron of some layers.

    Parameters
    ----------
    model
        A bridge, its weights not yet processed.
    prompt_pairs
        Token ids of the prompts.
    layers
        The layers that are wanted.

    Returns
    -------
    list of Tensor
        For each prompt pair clean - corrupted activation, [layer, pos, d_mlp].
    """
    decoder = Decoder(model, "sdpa")
    return [
        _activations(decoder, prompt_pair.clean, layers) - _activations(decoder, prompt_pair.corrupted, layers)
        for prompt_pair in prompt_pairs
    ]


def _activations(decoder: Decoder, ids: Sequence[int], layers: Sequence[int]) -> Tensor:
    """Return hook_post of some layers, [layer, pos, d_mlp]."""
    seen: dict[int, Tensor] = {}

    def keep(layer: int) -> Hook:
        return (
            decoder.module(layer, "post"),
            "in",
            rows_apart(lambda activation: seen.update({layer: activation[0]}), 1),
        )

    with hooked([keep(layer) for layer in layers]):
        decoder.model(torch.tensor([list(ids)], device=decoder.device), use_cache=False)
    return torch.stack([seen[layer] for layer in layers]).float().cpu()


def telling_change(changes: Sequence[Tensor]) -> Tensor:
    """Return the change that tells what a patch writes: at the last position, from which the next token is predicted.

    Where it is exactly 0 there, the patch acts elsewhere, and the largest change, with its sign, is returned.

    Parameters
    ----------
    changes
        For each prompt pair, [..., pos, d_mlp]. Positions are aligned at the prompts' ends, and each one's change is
        the mean over the prompt pairs that have it.

    Returns
    -------
    Tensor
        [..., d_mlp].
    """
    mean = _mean_change(changes)
    largest = mean.gather(-2, mean.abs().argmax(-2, keepdim=True)).squeeze(-2)
    last = mean[..., -1, :]
    return last.where(last != 0, largest)


def _mean_change(changes: Sequence[Tensor]) -> Tensor:
    """Return the mean change at each position, counted from the end, [..., pos, d_mlp]."""
    length = max(change.shape[-2] for change in changes)
    rows = [
        torch.nn.functional.pad(change, (0, 0, length - change.shape[-2], 0), value=torch.nan) for change in changes
    ]
    return torch.stack(rows).nanmean(0)
