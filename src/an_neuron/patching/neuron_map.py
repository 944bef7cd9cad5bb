"""The sweeps of many layers put together: the map of every neuron, its best, and how well an estimate finds them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.files import old_hdf5 as hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.old_hdf5 import Dataset
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.patching.attribution import rank_correlation
from an_neuron.patching.sweeps import Sweep

N_TOP, N_LEAST, SHARE = 200, 10, 0.01
"""The top list is the hundredth part of all neurons, but at least 10 and at most 200; silent ones are not in it."""
N_TOKENS = 5
N_RANKED = 100
RECOVERY = "0 = patch did nothing, 1 = clean restored"


@dataclass(frozen=True)
class Sweeps:
    """The neuron sweeps of some layers: recovery [layer, d_mlp], and clean and corrupted logit differences [prompt_pair]."""

    layers: list[int]
    recovery: Tensor
    clean: Tensor
    corrupted: Tensor
    attributes: dict[str, Any]


@dataclass(frozen=True)
class TopNeurons:
    """The neurons of the largest absolute recovery, largest first, and the tokens that they write most, [rank, k]."""

    layer: list[int]
    index: list[int]
    recovery: list[float]
    tokens: list[list[str]]


def gather(paths: Iterable[str | Path]) -> Sweeps:
    """Read the sweeps of some layers, patching/neurons/layer_….h5, in the order of their layers."""
    tables = sorted((hdf5.read(path) for path in paths), key=lambda table: int(table.attributes["layer"]))
    first = tables[0]
    return Sweeps(
        layers=[int(table.attributes["layer"]) for table in tables],
        recovery=torch.from_numpy(np.stack([table["recovery"] for table in tables])),
        clean=torch.from_numpy(first["clean"]),
        corrupted=torch.from_numpy(first["corrupted"]),
        attributes={key: first.attributes[key] for key in ("answer", "foil", "answer_id", "foil_id")},
    )


@torch.inference_mode()
def top_neurons(model: TransformerBridge, tokenizer: Tokenizer, sweeps: Sweeps) -> TopNeurons:
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
        (model.blocks[layer].mlp.W_out[neuron] @ model.W_U).topk(N_TOKENS).indices.tolist() for layer, neuron in places
    ]
    return TopNeurons(
        layer=[layer for layer, _ in places],
        index=[index for _, index in places],
        recovery=sweeps.recovery.flatten()[order].tolist(),
        tokens=[tokenizer.texts(ids) for ids in best],
    )


def write_map(path: Path, sweeps: Sweeps, top: TopNeurons, attributes: Mapping[str, Any]) -> None:
    """Write patching/neurons/map.h5: every swept neuron's recovery, and the top neurons.

    ============  ============  =======  ====================================================
    dataset       dims          dtype    content
    ============  ============  =======  ====================================================
    recovery      layer, d_mlp  float32  of each neuron patched at all positions
    layer         layer         int32    the layers that were swept
    top_layer     rank          int32    layer of the neurons of the largest absolute recovery
    top_index    rank          int32    their number in the layer
    top_recovery  rank          float32  their recovery
    top_tokens    rank, k       text     the tokens with the largest W_out . W_U, best first
    ============  ============  =======  ====================================================
    """
    datasets = {
        "recovery": Dataset(sweeps.recovery, ("layer", "d_mlp"), RECOVERY, "of each neuron patched at all positions"),
        "layer": Dataset(sweeps.layers, ("layer",), "", "the layers that were swept"),
        "top_layer": Dataset(top.layer, ("rank",), "", "layer of the neurons of the largest absolute recovery"),
        "top_index": Dataset(top.index, ("rank",), "", "their number in the layer"),
        "top_recovery": Dataset(top.recovery, ("rank",), RECOVERY, "their recovery"),
        "top_tokens": Dataset(
            np.array(top.tokens, dtype=object).reshape(-1, N_TOKENS),
            ("rank", "k"),
            "",
            "the tokens with the largest W_out . W_U",
        ),
    }
    hdf5.write(path, datasets, {**attributes, **sweeps.attributes})


def top_neurons_frame(table: Table) -> pd.DataFrame:
    """Return the top neurons of patching/neurons/map.h5 as a table."""
    return pd.DataFrame(
        {
            "layer": table["top_layer"],
            "index": table["top_index"],
            "recovery": table["top_recovery"].round(5),
            "tokens": [" ".join(map(repr, row)) for row in table["top_tokens"].tolist()],
        }
    )


def write_attribution(path: Path, sweeps: Sweeps, approximate: Tensor, attributes: Mapping[str, Any]) -> None:
    """Write patching/neurons/attribution.h5: exact recovery and attribution patching's estimate of it.

    ===========  ============  =======  =====================================
    dataset      dims          dtype    content
    ===========  ============  =======  =====================================
    exact        layer, d_mlp  float32  recovery, patched for real
    approximate  layer, d_mlp  float32  recovery as one gradient estimates it
    layer        layer         int32    the layers that were swept
    ===========  ============  =======  =====================================

    The root attributes rank_correlation (over all neurons), rank_correlation_top (over the n_top of the largest
    absolute exact recovery) say how well the estimate orders the neurons.

    Parameters
    ----------
    approximate
        Estimated logit differences, [prompt_pair, layer, d_mlp].
    """
    estimate = Sweep(sweeps.clean, sweeps.corrupted, approximate, sweeps.corrupted, sweeps.clean).recovery
    n_top = min(N_RANKED, sweeps.recovery.numel())
    top = sweeps.recovery.abs().flatten().topk(n_top).indices
    correlations = {
        "rank_correlation": rank_correlation(sweeps.recovery, estimate),
        "rank_correlation_top": rank_correlation(sweeps.recovery.flatten()[top], estimate.flatten()[top]),
        "n_top": n_top,
    }
    dims = ("layer", "d_mlp")
    datasets = {
        "exact": Dataset(sweeps.recovery, dims, RECOVERY, "recovery, patched for real"),
        "approximate": Dataset(estimate, dims, RECOVERY, "recovery as one gradient estimates it"),
        "layer": Dataset(sweeps.layers, ("layer",), "", "the layers that were swept"),
    }
    hdf5.write(path, datasets, {**attributes, **sweeps.attributes, **correlations})
