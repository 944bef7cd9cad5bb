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
from an_neuron.files.texts import neuron_name
from an_neuron.patching import evidence
from an_neuron.patching.again import RECOVERY
from an_neuron.prompts.prompt_set import DEVELOPMENT, HELD_OUT, WrittenPair

SIGNED_RANK = "exact Wilcoxon signed-rank test, two-sided"
PERMUTED = f"paired permutation test, two-sided, at most {evidence.N_RESAMPLES:,} permutations"
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
    {
        "studied_layer": "layer of the studied neuron",
        "studied_index": "its number in the layer",
        "n_tests": "neurons that the studied one was chosen from, by whose number p is multiplied (Bonferroni)",
        **{
            f"{name}_{part}": what.format(part)
            for part in (DEVELOPMENT, HELD_OUT)
            for name, what in (
                ("next_best", "other neuron of the largest mean recovery over {} prompt pairs, layer.index; or empty"),
                ("next_best_mean", "its mean recovery over {} prompt pairs"),
                ("next_best_p", f"that it recovers as much as the studied one over {{}} prompt pairs: {PERMUTED}"),
            )
        },
    },
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
    "each neuron over the set: mean recovery, how far it is known, and in how many prompt pairs it is the best",
    {
        "layer": Field("row", "int32", "", "the neuron's layer"),
        "index": Field("row", "int32", "", "its number in the layer"),
        **{
            f"{name}_{part}": Field("row", kind, unit, f"{what} over the {part} prompt pairs")
            for part in (DEVELOPMENT, HELD_OUT)
            for name, kind, unit, what in (
                ("mean", "float32", RECOVERY, "mean recovery"),
                ("standard_error", "float32", RECOVERY, "standard error of the mean"),
                ("low", "float32", RECOVERY, "lower end of the mean's 95 % bootstrap interval (BCa)"),
                ("high", "float32", RECOVERY, "its upper end"),
                ("p", "float32", "", f"that recovery is symmetric about 0: {SIGNED_RANK}"),
                (
                    "p_corrected",
                    "float32",
                    "",
                    "the same, times the number of neurons to choose from, at most 1",
                ),
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


def n_tests(swept: Table, layer: int) -> int:
    """Return of how many neurons the best was looked for: those of patching/neurons/map.h5 and of the studied layer.

    A screen looks at all of them, by attribution, before it chooses those that are patched.
    """
    return len({*swept["layer"].tolist(), layer}) * swept["recovery"].shape[1]


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
    attributes
        Those of every file, of the tokens, and n_tests.
    """
    clean, corrupted = baselines
    recovery = ((patched - corrupted[:, None]) / (clean - corrupted)[:, None]).astype(np.float32)
    values = {
        "recovery": recovery,
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
    parts = np.array([pair.part for pair in pairs])
    for part in (DEVELOPMENT, HELD_OUT):
        attributes = {**attributes, **_next_best(recovery[parts == part], neurons, part)}
    hdf5.write(path, PROMPT_SET, values, {**attributes, **studied})


def _next_best(recovery: np.ndarray, neurons: Sequence[tuple[int, int]], part: str) -> dict[str, Any]:
    """Return the attributes of the neuron that comes next to the studied one in a part."""
    other = evidence.next_best(recovery.astype(float))
    name, mean, p = (neuron_name(*neurons[other.neuron]), other.mean, other.p) if other else ("", np.nan, np.nan)
    return {f"next_best_{part}": name, f"next_best_mean_{part}": mean, f"next_best_p_{part}": p}


def names(table: Table) -> list[str]:
    """Return layer.index of each neuron of patching/prompt_set.h5."""
    return [neuron_name(layer, index) for layer, index in zip(table["layer"], table["index"], strict=True)]


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
        stats = statistics(table, part)
        small = {name: _digits(stats[name]) for name in ("p", "p_corrected")}
        columns |= {f"{name}_{part}": values for name, values in {**stats, **small}.items()}
    _write(path, NEURONS_CSV, columns)


def statistics(table: Table, part: str, wanted: Sequence[int] | slice = slice(None)) -> dict[str, np.ndarray]:
    """Return what the prompt pairs of a part say of some neurons.

    Parameters
    ----------
    table
        patching/prompt_set.h5.
    wanted
        Places of the neurons, the studied one at 0; all of them where not given.

    Returns
    -------
    mean, standard_error, low and high (the mean's 95 % bootstrap interval), p and p_corrected (that recovery is
    symmetric about 0), times_best and prompt_pairs, each [neuron]. The standard error and the interval are NaN for
    fewer than two prompt pairs, mean and p for none.
    """
    of_all = table["recovery"][table["part"] == part].astype(float)
    recovery, number = of_all[:, wanted], len(of_all)
    nothing = np.full(recovery.shape[1], np.nan)
    low, high = evidence.intervals(recovery)
    p = evidence.p_not_zero(recovery)
    return {
        "mean": recovery.mean(0) if number else nothing,
        "standard_error": recovery.std(0, ddof=1) / np.sqrt(number) if number > 1 else nothing,
        "low": low,
        "high": high,
        "p": p,
        "p_corrected": evidence.corrected(p, int(table.attributes["n_tests"])),
        "times_best": np.bincount(of_all.argmax(1), minlength=of_all.shape[1])[wanted],
        "prompt_pairs": np.full(len(nothing), number),
    }


def _digits(values: np.ndarray) -> list[float]:
    """Return numbers, some of them very small, with four digits each."""
    return [float(f"{value:.4g}") for value in values.tolist()]


def _write(path: Path, schema: Schema, columns: Mapping[str, Iterable[Any]]) -> None:
    frame = pd.DataFrame(columns)
    schema.check_names(frame.columns)
    write_csv(path, frame.round({name: 5 for name, column in schema.fields.items() if column.unit}))
