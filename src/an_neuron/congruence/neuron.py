"""Congruence of one neuron with every token, by dot products of weights (notebook, cells 21 and 22)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema

NEURON = Schema(
    "congruence/neuron_{layer}.{index}.h5",
    "a neuron's weights dot every token's directions",
    {
        "W_out_dot_W_U": Field("d_vocab", "float32", "", "the neuron's output weights dot each token's unembedding"),
        "W_out_dot_W_E": Field("d_vocab", "float32", "", "the neuron's output weights dot each token's embedding"),
        "W_in_dot_W_E": Field("d_vocab", "float32", "", "the neuron's input weights dot each token's embedding"),
        "token": Field("d_vocab", "text", "", "text of each token id"),
    },
    {"layer": "the neuron's layer", "index": "its number in the layer"},
)


@dataclass(frozen=True)
class NeuronCongruence:
    """Dot products of one neuron's weights with every token's directions, each [d_vocab]."""

    W_out_dot_W_U: Tensor
    W_out_dot_W_E: Tensor
    W_in_dot_W_E: Tensor


@torch.inference_mode()
def neuron_congruence(model: TransformerBridge, layer: int, index: int) -> NeuronCongruence:
    """Return the congruence of a neuron with every token.

    Parameters
    ----------
    model
        A bridge with processed weights, in whose coordinates W_out and W_U, W_E are comparable.
    layer, index
        The neuron.
    """
    mlp = model.blocks[layer].mlp
    w_out, w_in = mlp.W_out[index], mlp.W_in[:, index]  # each [d_model]
    return NeuronCongruence(
        W_out_dot_W_U=(w_out @ model.W_U).float().cpu(),
        W_out_dot_W_E=(model.W_E @ w_out).float().cpu(),
        W_in_dot_W_E=(model.W_E @ w_in).float().cpu(),
    )


def write_neuron_congruence(
    path: Path, congruence: NeuronCongruence, vocabulary: Sequence[str], attributes: Mapping[str, Any]
) -> None:
    """Write congruence/neuron_{layer}.{index}.h5, beside the text of each token."""
    hdf5.write(path, NEURON, {**vars(congruence), "token": vocabulary}, attributes)
