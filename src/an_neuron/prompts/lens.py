"""The logit lens: which logit difference the residual stream holds at each layer (notebook, cell 8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.prompts.pairs import logit_difference
from an_neuron.prompts.tokens import COMPARED

LENS = Schema(
    "logit_lens.h5",
    "the logit difference in the residual stream of each clean prompt, by the logit lens",
    {
        "point_label": Field("point", "text", "", "TransformerLens' name of the point: 0_pre, 0_mid, … final_post"),
        "x": Field("point", "float32", "layers", "place on the layer axis"),
        "logit_difference": Field("prompt_pair point", "float32", "logits", "without the unembedding bias"),
        "mean_logit_difference": Field("point", "float32", "logits", "mean over the prompt pairs"),
        "bias": Field("prompt_pair", "float32", "logits", "b_U(answer) - b_U(foil), which the lens leaves out"),
        "model_logit_difference": Field("prompt_pair", "float32", "logits", "the model's own"),
    },
    COMPARED,
)


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
        model=float(logit_difference(logits[0, -1], answer, foil)),
    )


def write_lens(path: Path, lenses: Sequence[LogitLens], attributes: Mapping[str, Any]) -> None:
    """Write logit_lens.h5: the lens of each clean prompt."""
    curves = torch.stack([lens.logit_difference for lens in lenses])
    values = {
        "point_label": lenses[0].labels,
        "x": lenses[0].x,
        "logit_difference": curves,
        "mean_logit_difference": curves.mean(0),
        "bias": [lens.bias for lens in lenses],
        "model_logit_difference": [lens.model for lens in lenses],
    }
    hdf5.write(path, LENS, values, attributes)
