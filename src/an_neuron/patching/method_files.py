"""The comparison of ways to estimate patches, as files: circuit/methods.h5 and a table of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.again import RECOVERY
from an_neuron.patching.methods import COUNTS, EFFECT, METHODS, SPARE, agreement, concerns
from an_neuron.patching.sweep_files import COMPARED

AXES = {"post": "layer d_mlp", "z": "head_layer head", "q": "head_layer head"}
AXES |= dict.fromkeys(("v", "k"), "head_layer kv_head")
KINDS = {"post": "neurons", "z": "heads", "v": "heads' values", "q": "heads' queries", "k": "heads' keys"}
ESTIMATED = "as each method estimates it; AtP*'s has no sign; NaN where a method does not concern the site"
METHODS_H5 = Schema(
    "circuit/methods.h5",
    "recovery of every neuron and head, exact and as ways to estimate it by gradients have it",
    {
        "method": Field("method", "text", "", "the ways to estimate"),
        "layer": Field("layer", "int32", "", "layers whose neurons were swept"),
        **{
            f"{site}_exact": Field(AXES[site], "float32", RECOVERY, f"{KINDS[site]}, patched for real", True)
            for site in KINDS
        },
        **{
            f"{site}_estimate": Field(f"method {AXES[site]}", "float32", RECOVERY, f"{KINDS[site]}, {ESTIMATED}", True)
            for site in KINDS
        },
    },
    {
        **COMPARED,
        "floor": "least absolute exact recovery that is more than float32 rounding",
        "rounding": "the largest difference of a spot check of queries and keys, in logits; NaN if there are none",
    },
)
METHODS_CSV = Schema(
    "circuit/methods.csv",
    "how well each way to estimate finds the neurons and heads of the largest exact effects, whatever their sign",
    {
        "kind": Field("row", "text", "", "neurons, heads (z), heads' values, queries or keys"),
        "method": Field("row", "text", "", "the way to estimate"),
        "nodes": Field("row", "int64", "nodes", "how many there are"),
        "above_floor": Field("row", "int64", "nodes", "how many have an exact effect above rounding"),
        "rank_correlation": Field("row", "float32", "", "Spearman's, of absolute values, over these; empty below 3"),
        "few": Field("row", "int64", "nodes", "how many of the largest are looked for among as many: 10, or 5 heads"),
        "precision_few": Field("row", "float32", "share", "how many of them are there"),
        "many": Field("row", "int64", "nodes", "likewise: 100, or 20 heads; no more than a third of all"),
        "precision_many": Field("row", "float32", "share", "how many of them are there"),
        "sought": Field("row", "int64", "nodes", f"how many of these many have an absolute recovery above {EFFECT}"),
        "missed": Field(
            "row", "int64", "nodes", f"of them, how many are not among the method's {SPARE} * many largest"
        ),
    },
)


def write_methods(
    path: str | Path,
    exact: Mapping[str, Any],
    estimates: Mapping[str, Any],
    layers: Sequence[int],
    attributes: Mapping[str, Any],
) -> None:
    """Write circuit/methods.h5.

    Parameters
    ----------
    exact
        Exact recovery by site, [layer, item]; a site is left out where not every neuron was patched.
    estimates
        Estimated recovery by site, [method, layer, item].
    layers
        The layers whose neurons were swept.
    attributes
        Those that the schema names, and those of every file.
    """
    values = {"method": list(METHODS), "layer": list(layers)}
    for site in exact:
        values |= {f"{site}_exact": exact[site], f"{site}_estimate": estimates[site]}
    hdf5.write(path, METHODS_H5, values, attributes)


def write_methods_csv(path: str | Path, table: Table) -> None:
    """Write circuit/methods.csv from circuit/methods.h5."""
    rows = [
        {"kind": KINDS[site], "method": method, **_agreement(table, site, number)}
        for site in KINDS
        if f"{site}_exact" in table.datasets
        for number, method in enumerate(table["method"])
        if concerns(method, site)
    ]
    frame = pd.DataFrame(rows)
    METHODS_CSV.check_names(frame.columns)
    write_csv(path, frame.round(5))


def _agreement(table: Table, site: str, number: int) -> dict[str, float]:
    exact, estimated = table[f"{site}_exact"].ravel(), table[f"{site}_estimate"][number].ravel()
    return agreement(exact, np.asarray(estimated), float(table.attributes["floor"]), COUNTS[site])
