"""What the model predicts after each prompt (notebook, cells 6 and 7)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from an_neuron.prompts.pairs import logit_difference
from an_neuron.prompts.tokens import COMPARED

if TYPE_CHECKING:
    from an_neuron.model.tokenizer import Tokenizer

PREDICTIONS = Schema(
    "prompts/predictions.h5",
    "what the model predicts after each prompt",
    {
        "name": Field("prompt", "text", "", "clean, corrupted, further 0, …"),
        "text": Field("prompt", "text", "", "the prompt"),
        "length": Field("prompt", "int32", "tokens", "tokens with BOS"),
        "top_id": Field("prompt k", "int32", "token id", "most likely next tokens, best first"),
        "top_token": Field("prompt k", "text", "", "their texts"),
        "top_logit": Field("prompt k", "float32", "logits", "their logits"),
        "top_probability": Field("prompt k", "float32", "", "their probabilities"),
        "logit": Field("prompt token", "float32", "logits", "logits of answer and foil"),
        "probability": Field("prompt token", "float32", "", "probabilities of answer and foil"),
        "rank": Field("prompt token", "int32", "", "rank of answer and foil, 0 = top prediction"),
        "logit_difference": Field("prompt", "float32", "logits", "logit(answer) - logit(foil)"),
    },
    COMPARED,
)
PREDICTIONS_CSV = Schema(
    "prompts/predictions.csv",
    "what the model predicts after each prompt, one row per prompt and rank",
    {
        "prompt": Field("row", "text", "", "clean, corrupted, further 0, …"),
        "rank": Field("row", "int64", "", "0 = top prediction"),
        "token": Field("row", "text", "", "the predicted token, quoted"),
        "token_id": Field("row", "int32", "token id", "its id"),
        "logit": Field("row", "float32", "logits", "its logit"),
        "probability": Field("row", "float32", "", "its probability"),
        "logit_difference": Field("row", "float32", "logits", "logit(answer) - logit(foil) after the prompt"),
        "answer_rank": Field("row", "int32", "", "rank of the answer, 0 = top prediction"),
        "text": Field("row", "text", "", "the prompt"),
    },
)


@dataclass(frozen=True)
class Prediction:
    """The prediction at the last position of one prompt.

    The k most likely tokens with their logits and probabilities, each [k]; logit, probability and rank (0 = top) of
    answer and foil, each [2]; logit(answer) - logit(foil).
    """

    top_id: Tensor
    top_logit: Tensor
    top_probability: Tensor
    logit: Tensor
    probability: Tensor
    rank: Tensor
    logit_difference: float


@torch.inference_mode()
def last_logits(model: TransformerBridge, ids: Sequence[int]) -> Tensor:
    """Return the logits at the last position of a prompt, [d_vocab], float32, on the CPU."""
    return model(torch.tensor([ids], device=model.cfg.device))[0, -1].float().cpu()


def predict(model: TransformerBridge, ids: Sequence[int], answer: int, foil: int, top_k: int) -> Prediction:
    """Return what a model predicts after a prompt.

    Parameters
    ----------
    model
        A bridge; logits are as its weights are processed (with centred unembedding they sum to zero).
    ids
        The prompt's token ids with BOS.
    answer, foil
        The two tokens that are compared.
    top_k
        How many of the most likely tokens to list.
    """
    return prediction(last_logits(model, ids), answer, foil, top_k)


def prediction(logits: Tensor, answer: int, foil: int, top_k: int) -> Prediction:
    """Return what logits at the last position of a prompt, [d_vocab], predict; see `predict`."""
    probabilities = logits.softmax(-1)
    top = logits.topk(min(top_k, len(logits)))
    asked = torch.tensor([answer, foil])
    rank = (logits[None, :] > logits[asked][:, None]).sum(-1)
    return Prediction(
        top_id=top.indices,
        top_logit=top.values,
        top_probability=probabilities[top.indices],
        logit=logits[asked],
        probability=probabilities[asked],
        rank=rank,
        logit_difference=float(logit_difference(logits, answer, foil)),
    )


def prompt_names(n_prompt_pairs: int, n_further: int) -> list[str]:
    """Return the names of a study's prompts in the order in which they are predicted."""
    numbers = [""] if n_prompt_pairs == 1 else [f" {number}" for number in range(n_prompt_pairs)]
    prompt_pairs = [f"{kind}{number}" for number in numbers for kind in ("clean", "corrupted")]
    return prompt_pairs + [f"further {number}" for number in range(n_further)]


def write_predictions(
    path: Path, predictions: Sequence[Prediction], prompts: Sequence[Sequence[int]], names: Sequence[str],
    tokenizer: "Tokenizer", attributes: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write prompts/predictions.h5: the predictions after prompts of these names, in the same order."""
    stacked = ("top_logit", "top_probability", "logit", "probability", "rank")
    ids = torch.stack([prediction.top_id for prediction in predictions])
    values = {
        "name": names,
        "text": ["".join(tokenizer.texts(list(prompt[1:]))) for prompt in prompts],
        "length": [len(prompt) for prompt in prompts],
        "top_id": ids,
        "top_token": [tokenizer.texts(row) for row in ids.tolist()],
        **{name: torch.stack([getattr(prediction, name) for prediction in predictions]) for name in stacked},
        "logit_difference": [prediction.logit_difference for prediction in predictions],
    }
    hdf5.write(path, PREDICTIONS, values, attributes)


def predictions_frame(table: Table) -> pd.DataFrame:
    """Return the predictions as a table with one row for each prompt and rank."""
    n_prompts, k = table["top_id"].shape
    return pd.DataFrame(
        {
            "prompt": np.repeat(table["name"], k),
            "rank": np.tile(np.arange(k), n_prompts),
            "token": [repr(token) for token in table["top_token"].ravel()],
            "token_id": table["top_id"].ravel(),
            "logit": table["top_logit"].ravel().round(4),
            "probability": table["top_probability"].ravel().round(6),
            "logit_difference": np.repeat(table["logit_difference"], k).round(4),
            "answer_rank": np.repeat(table["rank"][:, 0], k),
            "text": np.repeat(table["text"], k),
        }
    )
