"""The logit lens: which logit difference the residual stream holds at each layer (notebook, cell 8)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class LogitLens:
    """The lens at one prompt's last position.

    Attributes
    ----------
    labels
        TransformerLens' name of each point: "0_pre", "0_mid", ... "final_post".
    x
        Place of each point on the layer axis, in layers, [point].
    logit_difference
        W_U(answer) - W_U(foil), dot the residual stream after the final norm's centring and scale, [point]. The
        unembedding bias is left out, as in the notebook.
    bias
        b_U(answer) - b_U(foil): what the last point lacks of the model's own logit difference, unless the model caps
        its logits (Gemma 2), which the lens does not.
    model
        The model's own logit difference.
    """

    labels: list[str]
    x: list[float]
    logit_difference: Tensor
    bias: float
    model: float


@torch.inference_mode()
def logit_lens(model: TransformerBridge, ids: Sequence[int], answer: int, foil: int) -> LogitLens:
    """Return the logit lens of a prompt.

    Every point is scaled by the final norm's scale of the whole prompt, as `apply_ln_to_stack` does, so that the
    curve is linear in the residual stream. Models with parallel attention and MLP have no middle points.

    Parameters
    ----------
    model
        A bridge whose weights are processed with `fold_ln`, so that the final norm has no weights of its own.
    ids
        The prompt's token ids with BOS.
    answer, foil
        The two tokens that are compared.
    """
    logits, cache = model.run_with_cache(torch.tensor([ids], device=model.cfg.device))
    middle = "blocks.0.hook_resid_mid" in cache
    stack, labels = cache.accumulated_resid(layer=-1, incl_mid=middle, pos_slice=-1, return_labels=True)
    scaled = cache.apply_ln_to_stack(stack, layer=-1, pos_slice=-1)[:, 0]  # [point, d_model]
    direction = model.W_U[:, answer] - model.W_U[:, foil]
    bias = 0.0 if model.b_U is None else float(model.b_U[answer] - model.b_U[foil])
    step = 0.5 if middle else 1.0
    return LogitLens(
        labels=labels,
        x=[step * point for point in range(len(labels))],
        logit_difference=(scaled @ direction).float().cpu(),
        bias=bias,
        model=float(logits[0, -1, answer] - logits[0, -1, foil]),
    )
