"""The map of every swept neuron's recovery, and the neurons of the largest one with the tokens that they write."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.files.schema import Field, Schema
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.patching.neuron_sweeps import NeuronSweeps
from an_neuron.patching.sweep_files import COMPARED, RECOVERY

N_TOP, N_LEAST, SHARE = 200, 10, 0.01
"""The top list is the hundredth part of all neurons, but at least 10 and at most 200; silent ones are not in it."""
N_TOKENS = 5

MAP = Schema(
    "patching/neurons/map.h5",
    "every swept neuron's recovery, and the top neurons",
    {
        "recovery": Field("layer d_mlp", "float32", RECOVERY, "of each neuron patched at all positions"),
        "layer": Field("layer", "int32", "", "the layers that were swept"),
        "top_layer": Field("rank", "int32", "", "layer of the neurons of the largest absolute recovery"),
        "top_index": Field("rank", "int32", "", "their number in the layer"),
        "top_recovery": Field("rank", "float32", RECOVERY, "their recovery"),
        "top_tokens": Field("rank k", "text", "", "the tokens with the largest W_out . W_U"),
    },
    COMPARED,
)
TOP = Schema(
    "patching/neurons/top.csv",
    "the neurons of the largest absolute recovery, largest first",
    {
        "layer": Field("row", "int32", "", "the neuron's layer"),
        "index": Field("row", "int32", "", "its number in the layer"),
        "recovery": Field("row", "float32", RECOVERY, "its recovery"),
        "tokens": Field("row", "text", "", "the tokens with the largest W_out . W_U, best first"),
    },
)


@dataclass(frozen=True)
class TopNeurons:
    """The neurons of the largest absolute recovery, largest first, and the tokens that they write most, [rank, k]."""

    layer: list[int]
    index: list[int]
    recovery: list[float]
    tokens: list[list[str]]


@torch.inference_mode()
def top_neurons(model: TransformerBridge, tokenizer: Tokenizer, sweeps: NeuronSweeps) -> TopNeurons:
    """Return the neurons of the largest absolute recovery and the tokens with the largest W_out . W_U.

    Parameters
    ----------
    model
        A bridge with processed weights.
    tokenizer
        For the tokens' texts.
    sweeps
        The sweeps of some layers.
    """
    d_mlp = sweeps.recovery.shape[1]
    sizes = sweeps.recovery.abs().flatten()
    number = min(N_TOP, max(N_LEAST, round(SHARE * len(sizes))))
    order = [place for place in sizes.argsort(descending=True, stable=True)[:number].tolist() if sizes[place] > 0]
    places = [(sweeps.layers[place // d_mlp], place % d_mlp) for place in order]
    best = [
        (model.blocks[layer].mlp.W_out[index] @ model.W_U).topk(N_TOKENS).indices.tolist() for layer, index in places
    ]
    return TopNeurons(
        layer=[layer for layer, _ in places],
        index=[index for _, index in places],
        recovery=sweeps.recovery.flatten()[order].tolist(),
        tokens=[tokenizer.texts(ids) for ids in best],
    )


def write_map(path: str | Path, sweeps: NeuronSweeps, top: TopNeurons, attributes: Mapping[str, Any]) -> None:
    """Write patching/neurons/map.h5."""
    values = {
        "recovery": sweeps.recovery,
        "layer": sweeps.layers,
        "top_layer": top.layer,
        "top_index": top.index,
        "top_recovery": top.recovery,
        "top_tokens": np.array(top.tokens, dtype=object).reshape(-1, N_TOKENS),
    }
    hdf5.write(path, MAP, values, {**attributes, **sweeps.attributes})


def top_neurons_frame(table: hdf5.Table) -> pd.DataFrame:
    """Return the top neurons of patching/neurons/map.h5 as a table."""
    return pd.DataFrame(
        {
            "layer": table["top_layer"],
            "index": table["top_index"],
            "recovery": table["top_recovery"].round(5),
            "tokens": [" ".join(map(repr, row)) for row in table["top_tokens"].tolist()],
        }
    )


def write_top_neurons(path: str | Path, table: hdf5.Table) -> None:
    """Write patching/neurons/top.csv from patching/neurons/map.h5."""
    frame = top_neurons_frame(table)
    TOP.check_names(frame.columns)
    write_csv(path, frame)
