"""Activation patching the slow, obvious way, through TransformerLens' hooks: the reference of the fast engine."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from an_neuron.prompts.pairs import PromptPair

HOOKS = {
    "resid_pre": "hook_resid_pre",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "resid_mid": "hook_resid_mid",
    "post": "mlp.hook_post",
    **{site: f"attn.hook_{site}" for site in ("q", "k", "v", "z", "pattern")},
}
Put = Callable[[Tensor, Tensor, int], None]


def at_position(corrupted: Tensor, clean: Tensor, pos: int) -> None:
    corrupted[0, pos] = clean[0, pos]


def at_head(corrupted: Tensor, clean: Tensor, head: int) -> None:
    corrupted[0, :, head] = clean[0, :, head]


def at_pattern(corrupted: Tensor, clean: Tensor, head: int) -> None:
    corrupted[0, head] = clean[0, head]


@torch.inference_mode()
def one_forward_per_patch(
    model, prompt_pair: PromptPair, site: str, layer: int, items: Sequence, put: Put, answer: int, foil: int
) -> Tensor:
    """Run one forward pass for each patch; return the logit differences, [item]."""
    name = f"blocks.{layer}.{HOOKS[site]}"
    _, cache = model.run_with_cache(torch.tensor([prompt_pair.clean]), names_filter=name)
    measured = []
    for item in items:

        def patch(activation: Tensor, hook: object, item: object = item) -> Tensor:
            activation = activation.clone()
            put(activation, cache[name], item)
            return activation

        logits = model.run_with_hooks(torch.tensor([prompt_pair.corrupted]), fwd_hooks=[(name, patch)])
        measured.append(logits[0, -1, answer] - logits[0, -1, foil])
    return torch.stack(measured)
