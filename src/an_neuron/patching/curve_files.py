"""What the best nodes do together, as files: circuit/curves.h5 and two tables of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.again import RECOVERY
from an_neuron.patching.sweep_files import COMPARED

if TYPE_CHECKING:
    from an_neuron.patching.curves import Curve

ENOUGH = 0.9
"""The recovery that the smallest set reaches."""
MEASURES = {
    "recovery": "the first k nodes' clean values put into the corrupted run",
    "left": "their corrupted values put into the clean run: what remains without them",
    "faithfulness": "everything else of their kind set to its corrupted value in the clean run: what they do alone",
}
ROW = {
    "kind": Field("row", "text", "", "neurons, heads, or both"),
    "ranking": Field("row", "text", "", "by what the nodes are ranked on the main prompt pairs"),
}
CURVES = Schema(
    "circuit/curves.h5",
    "what the best neurons and heads do together, by their number, in each prompt pair",
    {
        **ROW,
        "k": Field("row", "int64", "nodes", "how many of the ranking's first nodes"),
        "of": Field("row", "int64", "nodes", "how many there are of the kind"),
        **{name: Field("row prompt_pair", "float32", RECOVERY, what) for name, what in MEASURES.items()},
        "part": Field("prompt_pair", "text", "", "main, or held_out"),
        "first": Field("row node", "text", "", "the ranking's first nodes, '' where it has fewer"),
    },
    {
        **COMPARED,
        "spot_checks": "how many values were measured again by ordinary forwards",
        "rounding": "the largest difference of one of them, in logits",
    },
)
CURVES_CSV = Schema(
    "circuit/curves.csv",
    "the same, as means over the prompt pairs of each part",
    {
        **ROW,
        "k": Field("row", "int64", "nodes", "how many of the ranking's first nodes"),
        **{
            f"{name}_{part}": Field("row", "float32", RECOVERY, f"mean over the {part} prompt pairs: {what}")
            for part in ("main", "held_out")
            for name, what in MEASURES.items()
        },
    },
)
AREAS_CSV = Schema(
    "circuit/areas.csv",
    "each ranking in a line: areas of its faithfulness, and the smallest set that recovers most",
    {
        **ROW,
        "cpr_main": Field("row", "float32", "", "area under faithfulness over the share of nodes; more is better"),
        "cmd_main": Field("row", "float32", "", "area between faithfulness and 1; less is better"),
        "cpr_held_out": Field("row", "float32", "", "the first on held-out prompt pairs"),
        "cmd_held_out": Field("row", "float32", "", "the second on held-out prompt pairs"),
        "smallest": Field("row", "int64", "nodes", f"how many recover {ENOUGH} on the main prompt pairs; -1: none do"),
        "smallest_recovery": Field("row", "float32", RECOVERY, "how much these recover"),
        "smallest_left": Field("row", "float32", RECOVERY, "what is left without these"),
    },
)
FIRST = 20
Smallest = tuple[int, float, float] | None


def write_curves(
    path: str | Path, curves: Sequence["Curve"], parts: Sequence[str], attributes: Mapping[str, Any]
) -> None:
    """Write circuit/curves.h5.

    Parameters
    ----------
    parts
        The part of each prompt pair.
    attributes
        Those that name answer and foil, that count the spot checks, and those of every file.
    """
    rows = [(curve, size) for curve in curves for size in curve.ranking.sizes()]
    named = [[node.name for node in curve.ranking.nodes[: min(size, FIRST)]] for curve, size in rows]
    values = {
        "kind": [curve.ranking.kind for curve, _ in rows],
        "ranking": [curve.ranking.by for curve, _ in rows],
        "k": [size for _, size in rows],
        "of": [curve.ranking.of for curve, _ in rows],
        **{name: np.concatenate([getattr(curve, name).numpy() for curve in curves]) for name in MEASURES},
        "part": list(parts),
        "first": [[*names, *[""] * (FIRST - len(names))] for names in named],
    }
    hdf5.write(path, CURVES, values, attributes)


def write_curves_csv(path: str | Path, table: Table) -> None:
    """Write circuit/curves.csv from circuit/curves.h5."""
    columns: dict[str, Any] = {name: table[name] for name in ("kind", "ranking", "k")}
    for part in ("main", "held_out"):
        among = table["part"] == part
        for name in MEASURES:
            columns[f"{name}_{part}"] = table[name][:, among].mean(1) if among.any() else np.nan
    _write(path, CURVES_CSV, columns)


def write_areas(
    path: str | Path, curves: Sequence["Curve"], parts: Sequence[str], smallest: Mapping[tuple[str, str], Smallest]
) -> None:
    """Write circuit/areas.csv.

    Parameters
    ----------
    smallest
        By kind and ranking, what `curves.smallest_set` found.
    """
    rows = []
    for curve in curves:
        ranking, row = curve.ranking, dict[str, Any]()
        for part in ("main", "held_out"):
            among = np.array(parts) == part
            row[f"cpr_{part}"], row[f"cmd_{part}"] = curve.areas(among) if among.any() else (np.nan, np.nan)
        found = smallest.get((ranking.kind, ranking.by)) or (-1, np.nan, np.nan)
        row |= dict(zip(("smallest", "smallest_recovery", "smallest_left"), found, strict=True))
        rows.append({"kind": ranking.kind, "ranking": ranking.by, **row})
    frame = pd.DataFrame(rows)
    _write(path, AREAS_CSV, {name: frame[name] for name in AREAS_CSV.fields})


def _write(path: str | Path, schema: Schema, columns: Mapping[str, Any]) -> None:
    frame = pd.DataFrame(columns)
    schema.check_names(frame.columns)
    write_csv(path, frame.round(5))
