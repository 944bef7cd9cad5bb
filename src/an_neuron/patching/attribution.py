"""Attribution patching: the first-order estimate of what patching each neuron would do.

One gradient of the metric in the base run says how the metric would move with every activation at once. The estimate is
exact where the rest of the model is linear, and wrong where it is not; it stands beside the exact values so that one
sees by how much.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis.attribution_patching import cache_activation_and_gradient

from an_neuron.prompts.pairs import PromptPair


def attribute_neurons(
    model: TransformerBridge, prompt_pairs: Sequence[PromptPair], answer: int, foil: int, layers: Sequence[int]
) -> Tensor:
    """Estimate the logit difference with each neuron patched at all positions (denoising).

    Parameters
    ----------
    model
        A bridge; raw and processed weights give the same estimate.
    prompt_pairs
        Token ids of the prompts.
    answer, foil
        The two tokens that are compared.
    layers
        Layers whose neurons are wanted.

    Returns
    -------
    Tensor
        corrupted + (clean - corrupted activation) . gradient, summed over positions, [prompt_pair, layer, d_mlp].
    """
    names = [f"blocks.{layer}.mlp.out.hook_in" for layer in layers]  # hook_post by its own name

    def metric(logits: Tensor) -> Tensor:
        return logits[0, -1, answer] - logits[0, -1, foil]

    estimates = []
    for prompt_pair in prompt_pairs:
        clean, corrupted = (
            torch.tensor([ids], device=model.cfg.device) for ids in (prompt_pair.clean, prompt_pair.corrupted)
        )
        with torch.enable_grad():
            run = cache_activation_and_gradient(model, corrupted, metric, names)
        source = cache_activation_and_gradient(model, clean, metric, names, compute_gradient=False)
        effects = [
            ((source.activations[name] - run.activations[name]) * run.gradients[name]).sum((0, 1)) for name in names
        ]
        estimates.append((torch.stack(effects) + run.metric).detach().float().cpu())
    return torch.stack(estimates)
