"""The file of every swept neuron's recovery, and of the neurons of the largest one with the tokens that they move."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.again import ERRORS, RECOVERY
from an_neuron.patching.neuron_sweeps import CHECKED, NeuronSweeps
from an_neuron.patching.screened import SCREENING
from an_neuron.patching.sweep_files import COMPARED
from an_neuron.patching.top_neurons import N_TOKENS, TopNeurons

CHANGE = "clean - corrupted activation at the last position, or the largest one where that is 0; mean over prompt pairs"
DIRECT = "sign(change) * W_out . W_U"
DRAWN = "whether it was found by the random draw, not by attribution"

MAP = Schema(
    "patching/neurons/map.h5",
    "every swept neuron's recovery, and the top neurons",
    {
        "recovery": Field("layer d_mlp", "float32", RECOVERY, "of each, patched at all positions; NaN if it was not"),
        "in_float32": Field("layer d_mlp", "bool", "", "measured in float32; the others in the precision named"),
        "layer": Field("layer", "int32", "", "the layers that were swept"),
        "top_layer": Field("rank", "int32", "", "layer of the neurons of the largest absolute recovery"),
        "top_index": Field("rank", "int32", "", "their number in the layer"),
        "top_recovery": Field("rank", "float32", RECOVERY, "their recovery"),
        "top_change": Field("rank", "float32", "hook_post", CHANGE),
        "top_tokens": Field("rank k", "text", "", f"the tokens that the patch raised most: the largest {DIRECT}"),
        "lowered_tokens": Field("rank k", "text", "", f"the tokens that it lowered most: the smallest {DIRECT}"),
        "top_drawn": Field("rank", "bool", "", f"{DRAWN}; where a screen chose what was patched", True),
    },
    {**COMPARED, **CHECKED, **ERRORS, **SCREENING},
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
        "drawn": Field("row", "bool", "", f"{DRAWN}; where a screen chose what was patched", True),
    },
)


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
    if sweeps.screened.of:
        drawn = dict(zip(sweeps.screened.neurons(), sweeps.screened.drawn.tolist(), strict=True))
        values["top_drawn"] = [drawn[neuron] for neuron in zip(top.layer, top.index, strict=True)]
    hdf5.write(path, MAP, values, {**attributes, **sweeps.attributes})


def _texts(tokens: list[list[str]]) -> np.ndarray:
    """Return tokens as an array of texts, [rank, k], also where there are none."""
    return np.array(tokens, dtype=object).reshape(-1, N_TOKENS)


def top_neurons_frame(table: hdf5.Table) -> pd.DataFrame:
    """Return the top neurons of patching/neurons/map.h5 as a table."""
    drawn = {"drawn": table["top_drawn"]} if "top_drawn" in table.datasets else {}
    return pd.DataFrame(
        {
            "layer": table["top_layer"],
            "index": table["top_index"],
            "recovery": table["top_recovery"].round(5),
            "change": table["top_change"].round(5),
            "raised": _quoted(table["top_tokens"]),
            "lowered": _quoted(table["lowered_tokens"]),
            **drawn,
        }
    )


def _quoted(tokens: np.ndarray) -> list[str]:
    return [" ".join(map(repr, row)) for row in tokens.tolist()]


def write_top_neurons(path: str | Path, table: hdf5.Table) -> None:
    """Write patching/neurons/top.csv from patching/neurons/map.h5."""
    frame = top_neurons_frame(table)
    TOP.check_names(frame.columns)
    write_csv(path, frame)
