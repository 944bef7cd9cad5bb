"""Congruence of one token, the answer, with every neuron of the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema

ANSWER = Schema(
    "congruence/answer.h5",
    "every neuron's output weights dot the answer's directions",
    {
        "W_out_dot_W_U": Field("layer d_mlp", "float32", "", "each neuron's W_out dot the answer's unembedding"),
        "W_out_dot_W_E": Field("layer d_mlp", "float32", "", "the same with its embedding"),
    },
    {"token": "the answer", "token_id": "its id"},
)


@dataclass(frozen=True)
class TokenCongruence:
    """Dot products of every neuron's output weights with one token's directions, each [layer, d_mlp]."""

    W_out_dot_W_U: Tensor
    W_out_dot_W_E: Tensor


@torch.inference_mode()
def token_congruence(model: TransformerBridge, token_id: int) -> TokenCongruence:
    """Return the congruence of a token with every neuron.

    Parameters
    ----------
    model
        A bridge with processed weights, in whose coordinates W_out and W_U, W_E are comparable.
    token_id
        The token.
    """
    w_out = [block.mlp.W_out for block in model.blocks]  # each [d_mlp, d_model]
    written, embedded = (
        torch.stack([(weights @ direction).float().cpu() for weights in w_out])
        for direction in (model.W_U[:, token_id], model.W_E[token_id])
    )
    return TokenCongruence(written, embedded)


def write_answer(path: Path, congruence: TokenCongruence, attributes: Mapping[str, Any]) -> None:
    """Write congruence/answer.h5; the attributes hold those that the schema names."""
    hdf5.write(path, ANSWER, vars(congruence), attributes)
