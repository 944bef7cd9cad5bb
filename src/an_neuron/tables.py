"""Every result's file: which datasets it holds, on which axes, in which unit."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from an_neuron.files import old_hdf5 as hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.old_hdf5 import Dataset
from an_neuron.model.folder import Tokenizer

if TYPE_CHECKING:  # a change of how one table is computed must not make all others again
    from an_neuron.congruence.ranking import NeuronCongruence, TopNeurons, TopTokens
    from an_neuron.prompts.lens import LogitLens
    from an_neuron.prompts.predictions import Prediction

LOGITS = "logits"
Attributes = Mapping[str, Any]


def prompt_names(n_prompt_pairs: int, n_further: int) -> list[str]:
    """Return the names of a study's prompts in the order in which they are predicted."""
    numbers = [""] if n_prompt_pairs == 1 else [f" {number}" for number in range(n_prompt_pairs)]
    prompt_pairs = [f"{kind}{number}" for number in numbers for kind in ("clean", "corrupted")]
    return prompt_pairs + [f"further {number}" for number in range(n_further)]


def write_predictions(
    path: Path, predictions: Sequence["Prediction"], prompts: Sequence[Sequence[int]], names: Sequence[str],
    tokenizer: Tokenizer, attributes: Attributes,
) -> None:  # fmt: skip
    """Write prompts/predictions.h5: what the model predicts after each prompt.

    ================  ===========  =======  ===============================================
    dataset           dims         dtype    content
    ================  ===========  =======  ===============================================
    name              prompt       text     clean, corrupted, further 0, …
    text              prompt       text     the prompt
    length            prompt       int32    tokens with BOS
    top_id            prompt, k    int32    most likely next tokens, best first
    top_token         prompt, k    text     their texts
    top_logit         prompt, k    float32  their logits
    top_probability   prompt, k    float32  their probabilities
    logit             prompt, 2    float32  logits of answer and foil
    probability       prompt, 2    float32  probabilities of answer and foil
    rank              prompt, 2    int32    rank of answer and foil, 0 = top prediction
    logit_difference  prompt       float32  logit(answer) - logit(foil)
    ================  ===========  =======  ===============================================
    """
    ids = torch.stack([prediction.top_id for prediction in predictions])
    asked, k = ("prompt", "token"), ("prompt", "k")

    def stacked(name: str) -> torch.Tensor:
        return torch.stack([getattr(prediction, name) for prediction in predictions])

    texts = ["".join(tokenizer.texts(list(prompt[1:]))) for prompt in prompts]
    datasets = {
        "name": Dataset(names, ("prompt",), "", "which prompt"),
        "text": Dataset(texts, ("prompt",), "", "the prompt"),
        "length": Dataset([len(prompt) for prompt in prompts], ("prompt",), "tokens", "tokens with BOS"),
        "top_id": Dataset(ids, k, "token id", "most likely next tokens, best first"),
        "top_token": Dataset([tokenizer.texts(row) for row in ids.tolist()], k, "", "their texts"),
        "top_logit": Dataset(stacked("top_logit"), k, LOGITS, "their logits"),
        "top_probability": Dataset(stacked("top_probability"), k, "", "their probabilities"),
        "logit": Dataset(stacked("logit"), asked, LOGITS, "logits of answer and foil"),
        "probability": Dataset(stacked("probability"), asked, "", "probabilities of answer and foil"),
        "rank": Dataset(stacked("rank"), asked, "", "rank of answer and foil, 0 = top prediction"),
        "logit_difference": Dataset(
            [prediction.logit_difference for prediction in predictions],
            ("prompt",),
            LOGITS,
            "logit(answer) - logit(foil)",
        ),
    }
    hdf5.write(path, datasets, attributes)


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


def write_lens(path: Path, lenses: Sequence["LogitLens"], attributes: Attributes) -> None:
    """Write logit_lens.h5: the logit difference in the residual stream of each clean prompt.

    =====================  ===========  =======  ====================================================
    dataset                dims         dtype    content
    =====================  ===========  =======  ====================================================
    point_label            point        text     0_pre, 0_mid, … final_post
    x                      point        float32  place on the layer axis, in layers
    logit_difference       prompt pair, point  float32  of the lens, without the unembedding bias
    mean_logit_difference  point        float32  mean over the prompt pairs
    bias                   prompt pair         float32  b_U(answer) - b_U(foil), what the lens leaves out
    model_logit_difference prompt pair         float32  the model's own
    =====================  ===========  =======  ====================================================
    """
    curves = torch.stack([lens.logit_difference for lens in lenses])
    datasets = {
        "point_label": Dataset(lenses[0].labels, ("point",), "", "TransformerLens' name of the point"),
        "x": Dataset(lenses[0].x, ("point",), "layers", "place on the layer axis"),
        "logit_difference": Dataset(curves, ("prompt_pair", "point"), LOGITS, "without the unembedding bias"),
        "mean_logit_difference": Dataset(curves.mean(0), ("point",), LOGITS, "mean over the prompt pairs"),
        "bias": Dataset([lens.bias for lens in lenses], ("prompt_pair",), LOGITS, "b_U(answer) - b_U(foil)"),
        "model_logit_difference": Dataset([lens.model for lens in lenses], ("prompt_pair",), LOGITS, "the model's own"),
    }
    hdf5.write(path, datasets, attributes)


def write_neuron_congruence(
    path: Path, found: "NeuronCongruence", vocabulary: Sequence[str], attributes: Attributes
) -> None:
    """Write congruence/neuron_….h5: W_out_dot_W_U, W_out_dot_W_E, W_in_dot_W_E and token, each [d_vocab]."""
    described = {
        "W_out_dot_W_U": "the neuron's output weights dot each token's unembedding",
        "W_out_dot_W_E": "the neuron's output weights dot each token's embedding",
        "W_in_dot_W_E": "the neuron's input weights dot each token's embedding",
    }
    datasets = {name: Dataset(getattr(found, name), ("d_vocab",), "", text) for name, text in described.items()}
    hdf5.write(path, {**datasets, "token": _tokens(vocabulary)}, attributes)


def write_top_neurons(path: Path, found: "TopNeurons", vocabulary: Sequence[str], attributes: Attributes) -> None:
    """Write congruence/top_neurons.h5: value, layer and index of each token's best neurons, [d_vocab, k], and token."""
    dims = ("d_vocab", "k")
    datasets = {
        "value": Dataset(found.value, dims, "", "W_E of the token dot W_out of the neuron, best first"),
        "layer": Dataset(found.layer, dims, "", "the neuron's layer"),
        "index": Dataset(found.index, dims, "", "the neuron's number in its layer"),
        "token": _tokens(vocabulary),
    }
    hdf5.write(path, datasets, attributes)


def write_top_tokens(path: Path, found: "TopTokens", attributes: Attributes) -> None:
    """Write congruence/top_tokens.h5: value and token id of each neuron's best tokens, [layer, d_mlp, k]."""
    dims = ("layer", "d_mlp", "k")
    datasets = {
        "value": Dataset(found.value, dims, "", "W_E of the token dot W_out of the neuron, best first"),
        "token": Dataset(found.token, dims, "token id", "the token"),
    }
    hdf5.write(path, datasets, attributes)


def _tokens(vocabulary: Sequence[str]) -> Dataset:
    return Dataset(list(vocabulary), ("d_vocab",), "", "text of each token id")
