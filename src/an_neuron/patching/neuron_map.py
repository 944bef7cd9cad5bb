"""The map of every swept neuron's recovery, and the neurons of the largest one with the tokens that the patch moved.

Patching a neuron adds to the residual stream the change of its activation times W_out. So what it raises and lowers in
the logits directly are the tokens with the largest and smallest sign(change) * W_out . W_U.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.files.schema import Field, Schema
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.patching.again import ERRORS
from an_neuron.patching.neuron_sweeps import CHECKED, NeuronSweeps
from an_neuron.patching.sweep_files import COMPARED, RECOVERY

N_TOP, N_LEAST, SHARE = 200, 10, 0.01
"""The top list is the hundredth part of all neurons, but at least 10 and at most 200; silent ones are not in it."""
N_TOKENS = 5
CHANGE = "clean - corrupted activation at the last position, or the largest one where that is 0; mean over prompt pairs"
DIRECT = "sign(change) * W_out . W_U"

MAP = Schema(
    "patching/neurons/map.h5",
    "every swept neuron's recovery, and the top neurons",
    {
        "recovery": Field("layer d_mlp", "float32", RECOVERY, "of each neuron patched at all positions"),
        "in_float32": Field("layer d_mlp", "bool", "", "measured in float32; the others in the precision named"),
        "layer": Field("layer", "int32", "", "the layers that were swept"),
        "top_layer": Field("rank", "int32", "", "layer of the neurons of the largest absolute recovery"),
        "top_index": Field("rank", "int32", "", "their number in the layer"),
        "top_recovery": Field("rank", "float32", RECOVERY, "their recovery"),
        "top_change": Field("rank", "float32", "hook_post", CHANGE),
        "top_tokens": Field("rank k", "text", "", f"the tokens that the patch raised most: the largest {DIRECT}"),
        "lowered_tokens": Field("rank k", "text", "", f"the tokens that it lowered most: the smallest {DIRECT}"),
    },
    {**COMPARED, **CHECKED, **ERRORS},
)
TOP = Schema(
    "patching/neurons/top.csv",
    "the neurons of the largest absolute recovery, largest first",
    {
        "layer": Field("row", "int32", "", "the neuron's layer"),
        "index": Field("row", "int32", "", "its number in the layer"),
        "recovery": Field("row", "float32", RECOVERY, "its recovery"),
        "change": Field("row", "float32", "hook_post", CHANGE),
        "raised": Field("row", "text", "", f"the tokens with the largest {DIRECT}, first the largest"),
        "lowered": Field("row", "text", "", f"the tokens with the smallest {DIRECT}, first the smallest"),
    },
)


@dataclass(frozen=True)
class TopNeurons:
    """The neurons of the largest absolute recovery, largest first.

    Attributes
    ----------
    layer, index, recovery
        [rank].
    change
        Of their activation, clean - corrupted, [rank].
    raised, lowered
        The tokens whose logits the patch moves most directly, [rank][k].
    """

    layer: list[int]
    index: list[int]
    recovery: list[float]
    change: list[float]
    raised: list[list[str]]
    lowered: list[list[str]]


@torch.inference_mode()
def top_neurons(model: TransformerBridge, tokenizer: Tokenizer, sweeps: NeuronSweeps, change: Tensor) -> TopNeurons:
    """Return the neurons of the largest absolute recovery, and the tokens that patching them raises and lowers.

    Parameters
    ----------
    model
        A bridge with processed weights.
    tokenizer
        For the tokens' texts.
    sweeps
        The sweeps of some layers.
    change
        The change of each of their neurons' activation, [layer, d_mlp]; only its sign decides on tokens.
    """
    d_mlp = sweeps.recovery.shape[1]
    sizes = sweeps.recovery.abs().flatten()
    number = min(N_TOP, max(N_LEAST, round(SHARE * len(sizes))))
    order = [place for place in sizes.argsort(descending=True, stable=True)[:number].tolist() if sizes[place] > 0]
    layers, indices = [sweeps.layers[place // d_mlp] for place in order], [place % d_mlp for place in order]
    changes = change.flatten()[order].tolist()
    moved = [_moved(model, *neuron) for neuron in zip(layers, indices, changes, strict=True)]
    return TopNeurons(
        layer=layers,
        index=indices,
        recovery=sweeps.recovery.flatten()[order].tolist(),
        change=changes,
        raised=[tokenizer.texts(raised) for raised, _ in moved],
        lowered=[tokenizer.texts(lowered) for _, lowered in moved],
    )


def _moved(model: TransformerBridge, layer: int, index: int, change: float) -> tuple[list[int], list[int]]:
    """Return the tokens that a change of a neuron's activation raises most, and those that it lowers most."""
    sign = -1 if change < 0 else 1
    direct = sign * (model.blocks[layer].mlp.W_out[index] @ model.W_U)
    return direct.topk(N_TOKENS).indices.tolist(), direct.topk(N_TOKENS, largest=False).indices.tolist()


def write_map(path: str | Path, sweeps: NeuronSweeps, top: TopNeurons, attributes: Mapping[str, Any]) -> None:
    """Write patching/neurons/map.h5."""
    values = {
        "recovery": sweeps.recovery,
        "in_float32": sweeps.in_float32,
        "layer": sweeps.layers,
        "top_layer": top.layer,
        "top_index": top.index,
        "top_recovery": top.recovery,
        "top_change": top.change,
        "top_tokens": _texts(top.raised),
        "lowered_tokens": _texts(top.lowered),
    }
    hdf5.write(path, MAP, values, {**attributes, **sweeps.attributes})


def _texts(tokens: list[list[str]]) -> np.ndarray:
    """Return tokens as an array of texts, [rank, k], also where there are none."""
    return np.array(tokens, dtype=object).reshape(-1, N_TOKENS)


def top_neurons_frame(table: hdf5.Table) -> pd.DataFrame:
    """Return the top neurons of patching/neurons/map.h5 as a table."""
    return pd.DataFrame(
        {
            "layer": table["top_layer"],
            "index": table["top_index"],
            "recovery": table["top_recovery"].round(5),
            "change": table["top_change"].round(5),
            "raised": _quoted(table["top_tokens"]),
            "lowered": _quoted(table["lowered_tokens"]),
        }
    )


def _quoted(tokens: np.ndarray) -> list[str]:
    return [" ".join(map(repr, row)) for row in tokens.tolist()]


def write_top_neurons(path: str | Path, table: hdf5.Table) -> None:
    """Write patching/neurons/top.csv from patching/neurons/map.h5."""
    frame = top_neurons_frame(table)
    TOP.check_names(frame.columns)
    write_csv(path, frame)
