"""What the model predicts after a prompt without its studied neuron, or with the neuron turned round."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.interventions import Negative, Scaled, Zero
from an_neuron.patching.ordinary_model import OrdinaryModel
from an_neuron.patching.sweep_files import ACTIVATION, COMPARED
from an_neuron.prompts.predictions import Prediction, prediction

if TYPE_CHECKING:
    from an_neuron.model.tokenizer import Tokenizer

INTERVENTIONS = {"none": Scaled(1.0), "zero": Zero(), "negated": Negative()}
"""What the neuron's activation becomes at every position of the prompt, by its name in the files."""
OF_RUN = "prompt intervention"
ABLATED_PROMPTS = Schema(
    "ablation/prompts.h5",
    "what the model predicts after each prompt with the studied neuron switched off or negated at every position",
    {
        "name": Field("prompt", "text", "", "clean, corrupted, further 0, …"),
        "text": Field("prompt", "text", "", "the prompt"),
        "intervention": Field("intervention", "text", "", "none: the model as it is; zero: switched off; or negated"),
        "activation": Field("prompt", "float32", "hook_post", "the neuron's activation at the last position as it is"),
        "top_id": Field(f"{OF_RUN} k", "int32", "token id", "most likely next tokens, best first"),
        "top_token": Field(f"{OF_RUN} k", "text", "", "their texts"),
        "top_logit": Field(f"{OF_RUN} k", "float32", "logits", "their logits"),
        "top_probability": Field(f"{OF_RUN} k", "float32", "", "their probabilities"),
        "logit": Field(f"{OF_RUN} token", "float32", "logits", "logits of answer and foil"),
        "probability": Field(f"{OF_RUN} token", "float32", "", "probabilities of answer and foil"),
        "rank": Field(f"{OF_RUN} token", "int32", "", "rank of answer and foil, 0 = top prediction"),
        "logit_difference": Field(OF_RUN, "float32", "logits", "logit(answer) - logit(foil)"),
    },
    {**COMPARED, **ACTIVATION.said},
)
ABLATED_PROMPTS_CSV = Schema(
    "ablation/prompts.csv",
    "the same, one row per prompt, intervention and rank",
    {
        "prompt": Field("row", "text", "", "clean, corrupted, further 0, …"),
        "intervention": Field("row", "text", "", "what becomes of the studied neuron: none, zero or negated"),
        "rank": Field("row", "int64", "", "0 = top prediction"),
        "token": Field("row", "text", "", "the predicted token, quoted"),
        "token_id": Field("row", "int32", "token id", "its id"),
        "logit": Field("row", "float32", "logits", "its logit"),
        "probability": Field("row", "float32", "", "its probability"),
        "probability_of_answer": Field("row", "float32", "", "probability of the answer after the prompt"),
        "logit_difference": Field("row", "float32", "logits", "logit(answer) - logit(foil) after the prompt"),
    },
)


@torch.inference_mode()
def ablated_logits(model: OrdinaryModel, ids: Sequence[int], layer: int, index: int) -> tuple[Tensor, float]:
    """Run a prompt with a neuron as it is, at zero, and negated: one forward of a row for each of `INTERVENTIONS`.

    Parameters
    ----------
    model
        The model as transformers runs it, with raw weights.
    ids
        The prompt's token ids with BOS.
    layer, index
        The neuron.

    Returns
    -------
    tuple
        The logits at the last position, [intervention, d_vocab], float32 on the CPU, and the neuron's own activation
        there.

    Raises
    ------
    UserError
        If the layer has no neurons of one MLP.
    """
    own: list[float] = []

    def change(activation: Tensor) -> Tensor:
        changed = activation.clone()
        for row, intervention in enumerate(INTERVENTIONS.values()):
            base = activation[row, :, [index]]
            changed[row, :, [index]] = intervention((layer, "post"), base, base)
        own.append(float(activation[0, -1, index]))
        return changed

    rows = len(INTERVENTIONS)
    batch = torch.tensor([list(ids)] * rows, device=model.device)
    with model.at(layer, "post", change, rows):
        logits = model.model(batch, use_cache=False).logits[:, -1].float().cpu()
    return logits, own[0]


def is_centred(bridge: TransformerBridge, processing: Sequence[str]) -> bool:
    """Return whether processed weights give logits that sum to zero; TransformerLens leaves soft-capped ones alone."""
    cap = getattr(bridge.cfg, "output_logits_soft_cap", None) or 0.0  # -1 where there is none
    return "center_unembed" in processing and cap <= 0


def predict_ablated(
    bridge: TransformerBridge,
    prompts: Sequence[Sequence[int]],
    neuron: tuple[int, int],
    tokens: tuple[int, int],
    top_k: int,
    processing: Sequence[str] = (),
) -> tuple[list[list[Prediction]], list[float]]:
    """Return what a model predicts after prompts with a neuron as it is, at zero, and negated.

    Parameters
    ----------
    bridge
        A raw bridge.
    prompts
        Their token ids with BOS.
    neuron
        Layer and index.
    tokens
        Answer and foil.
    top_k
        How many of the most likely tokens to list.
    processing
        How the weights of prompts/predictions.h5 are processed: with centred unembedding, logits sum to zero. All else
        that processing does changes none of them.

    Returns
    -------
    tuple
        For each prompt a prediction for each of `INTERVENTIONS`, and the neuron's own activation at the last position.
    """
    model, centred = OrdinaryModel(bridge), is_centred(bridge, processing)
    predictions, own = [], []
    for ids in prompts:
        logits, activation = ablated_logits(model, ids, *neuron)
        if centred:
            logits = logits - logits.mean(-1, keepdim=True)
        predictions.append([prediction(row, *tokens, top_k) for row in logits])
        own.append(activation)
    return predictions, own


def write_ablated_prompts(
    path: str | Path, predictions: Sequence[Sequence[Prediction]], own: Sequence[float],
    prompts: Sequence[Sequence[int]], names: Sequence[str], tokenizer: "Tokenizer", attributes: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write ablation/prompts.h5: what `predict_ablated` returns for prompts of these names, in the same order."""

    def stacked(name: str) -> Tensor:
        return torch.stack([torch.stack([getattr(run, name) for run in runs]) for runs in predictions])

    ids = stacked("top_id")
    values = {
        "name": names,
        "text": ["".join(tokenizer.texts(list(prompt[1:]))) for prompt in prompts],
        "intervention": [*INTERVENTIONS],
        "activation": own,
        "top_id": ids,
        "top_token": [[tokenizer.texts(row) for row in runs] for runs in ids.tolist()],
        **{name: stacked(name) for name in ("top_logit", "top_probability", "logit", "probability", "rank")},
        "logit_difference": [[run.logit_difference for run in runs] for runs in predictions],
    }
    hdf5.write(path, ABLATED_PROMPTS, values, attributes)


def ablated_prompts_frame(table: Table) -> pd.DataFrame:
    """Return ablation/prompts.h5 as a table with one row for each prompt, intervention and rank."""
    n_prompts, n_interventions, k = table["top_id"].shape
    runs = n_prompts * n_interventions
    columns = {
        "prompt": np.repeat(table["name"], n_interventions * k),
        "intervention": np.tile(np.repeat(table["intervention"], k), n_prompts),
        "rank": np.tile(np.arange(k), runs),
        "token": [repr(token) for token in table["top_token"].ravel()],
        "token_id": table["top_id"].ravel(),
        "logit": table["top_logit"].ravel().round(4),
        "probability": table["top_probability"].ravel().round(6),
        "probability_of_answer": np.repeat(table["probability"][..., 0].ravel(), k).round(6),
        "logit_difference": np.repeat(table["logit_difference"].ravel(), k).round(4),
    }
    ABLATED_PROMPTS_CSV.check_names(columns)
    return pd.DataFrame(columns)
