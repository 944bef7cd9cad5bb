"""The neurons of the largest recovery, held against a set of further prompt pairs: patching/prompt_set.h5."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.sweep_files import RECOVERY
from an_neuron.prompts.prompt_set import DEVELOPMENT, HELD_OUT, WrittenPair

PROMPT_SET = Schema(
    "patching/prompt_set.h5",
    "recovery of the map's top neurons in each prompt pair of a set; the neurons were chosen on the main prompt pairs",
    {
        "recovery": Field("prompt_pair neuron", "float32", RECOVERY, "of each neuron, patched at all positions"),
        "logit_difference": Field("prompt_pair neuron", "float32", "logits", "logit(answer) - logit(foil)"),
        "clean": Field("prompt_pair", "float32", "logits", "logit difference of the clean prompt"),
        "corrupted": Field("prompt_pair", "float32", "logits", "logit difference of the corrupted prompt"),
        "layer": Field("neuron", "int32", "", "the neurons' layers"),
        "index": Field("neuron", "int32", "", "their numbers in the layer"),
        "part": Field("prompt_pair", "text", "", "development or held_out"),
        "clean_prompt": Field("prompt_pair", "text", "", "the clean prompt"),
        "corrupted_prompt": Field("prompt_pair", "text", "", "the corrupted prompt"),
    },
    {"studied_layer": "layer of the studied neuron", "studied_index": "its number in the layer"},
)
PAIRS_CSV = Schema(
    "patching/prompt_set.csv",
    "each prompt pair of the set: the studied neuron's recovery, and the best neuron",
    {
        "part": Field("row", "text", "", "development or held_out"),
        "clean": Field("row", "text", "", "the clean prompt"),
        "corrupted": Field("row", "text", "", "the corrupted prompt"),
        "clean_logit_difference": Field("row", "float32", "logits", "of the clean prompt"),
        "corrupted_logit_difference": Field("row", "float32", "logits", "of the corrupted prompt"),
        "recovery": Field("row", "float32", RECOVERY, "of the studied neuron"),
        "best": Field("row", "text", "", "the neuron of the largest recovery, layer.index"),
        "best_recovery": Field("row", "float32", RECOVERY, "its recovery"),
    },
)
NEURONS_CSV = Schema(
    "patching/prompt_set_neurons.csv",
    "each neuron over the set: mean recovery, standard error, and in how many prompt pairs it is the best",
    {
        "layer": Field("row", "int32", "", "the neuron's layer"),
        "index": Field("row", "int32", "", "its number in the layer"),
        **{
            f"{name}_{part}": Field("row", kind, unit, f"{what} over the {part} prompt pairs")
            for part in (DEVELOPMENT, HELD_OUT)
            for name, kind, unit, what in (
                ("mean", "float32", RECOVERY, "mean recovery"),
                ("standard_error", "float32", RECOVERY, "standard error of the mean"),
                ("times_best", "int64", "prompt pairs", "how often it has the largest recovery"),
                ("prompt_pairs", "int64", "prompt pairs", "how many there are"),
            )
        },
    },
)


def candidates(top: Table, layer: int, index: int) -> list[tuple[int, int]]:
    """Return the studied neuron and the top neurons of patching/neurons/map.h5, each once."""
    listed = zip(top["top_layer"].tolist(), top["top_index"].tolist(), strict=True)
    return list(dict.fromkeys([(layer, index), *listed]))


def write_prompt_set(
    path: Path,
    patched: np.ndarray,
    baselines: tuple[np.ndarray, np.ndarray],
    neurons: Sequence[tuple[int, int]],
    pairs: Sequence[WrittenPair],
    attributes: Mapping[str, Any],
) -> None:
    """Write patching/prompt_set.h5.

    Parameters
    ----------
    patched
        Logit differences, [prompt_pair, neuron].
    baselines
        Those of the clean and of the corrupted prompts, each [prompt_pair].
    neurons
        Layer and index of each; the studied one first.
    pairs
        The prompt pairs' texts and parts.
    """
    clean, corrupted = baselines
    values = {
        "recovery": (patched - corrupted[:, None]) / (clean - corrupted)[:, None],
        "logit_difference": patched,
        "clean": clean,
        "corrupted": corrupted,
        "layer": [layer for layer, _ in neurons],
        "index": [index for _, index in neurons],
        "part": [pair.part for pair in pairs],
        "clean_prompt": [pair.clean for pair in pairs],
        "corrupted_prompt": [pair.corrupted for pair in pairs],
    }
    studied = dict(zip(("studied_layer", "studied_index"), neurons[0], strict=True))
    hdf5.write(path, PROMPT_SET, values, {**attributes, **studied})


def names(table: Table) -> list[str]:
    """Return layer.index of each neuron of patching/prompt_set.h5."""
    return [f"{layer}.{index}" for layer, index in zip(table["layer"], table["index"], strict=True)]


def write_pairs_csv(path: Path, table: Table) -> None:
    """Write patching/prompt_set.csv from patching/prompt_set.h5."""
    best = table["recovery"].argmax(1)
    columns = {
        "part": table["part"],
        "clean": table["clean_prompt"],
        "corrupted": table["corrupted_prompt"],
        "clean_logit_difference": table["clean"],
        "corrupted_logit_difference": table["corrupted"],
        "recovery": table["recovery"][:, 0],
        "best": np.asarray(names(table), dtype=object)[best],
        "best_recovery": table["recovery"].max(1),
    }
    _write(path, PAIRS_CSV, columns)


def write_neurons_csv(path: Path, table: Table) -> None:
    """Write patching/prompt_set_neurons.csv from patching/prompt_set.h5."""
    columns: dict[str, Any] = {"layer": table["layer"], "index": table["index"]}
    for part in (DEVELOPMENT, HELD_OUT):
        columns |= {f"{name}_{part}": values for name, values in statistics(table, part).items()}
    _write(path, NEURONS_CSV, columns)


def statistics(table: Table, part: str) -> dict[str, np.ndarray]:
    """Return mean, standard_error, times_best and prompt_pairs over a part's prompt pairs, each [neuron].

    The standard error is NaN for fewer than two prompt pairs, the mean for none.
    """
    recovery = table["recovery"][table["part"] == part].astype(float)
    number, n_neurons = recovery.shape
    nothing = np.full(n_neurons, np.nan)
    best = np.bincount(recovery.argmax(1), minlength=n_neurons) if number else np.zeros(n_neurons, int)
    return {
        "mean": recovery.mean(0) if number else nothing,
        "standard_error": recovery.std(0, ddof=1) / np.sqrt(number) if number > 1 else nothing,
        "times_best": best,
        "prompt_pairs": np.full(n_neurons, number),
    }


def _write(path: Path, schema: Schema, columns: Mapping[str, Iterable[Any]]) -> None:
    frame = pd.DataFrame(columns)
    schema.check_names(frame.columns)
    write_csv(path, frame.round(5))
