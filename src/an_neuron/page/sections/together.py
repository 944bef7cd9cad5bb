"""How the choice follows the neuron's activation, and what the best neurons and heads do together."""

from typing import Any

import numpy as np
import pandas as pd

from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name
from an_neuron.page.results import Results, Section
from an_neuron.page.values import quoted, rounded
from an_neuron.patching.curve_files import ENOUGH

FIRST = 5  # nodes of a ranking that the table names
PARTS = {"held_out": "held-out prompt pair", "main": "main prompt pair"}
MEASURES = ("recovery", "faithfulness")
ENDS = ("clean", "corrupted")


def dose_section(results: Results) -> Section | None:
    """Show the logit difference by the studied neuron's activation; None where it was not measured."""
    if "dose_response" not in results:
        return None
    table = results.table("dose_response")
    answer, foil = quoted(table.attributes[name] for name in ("answer", "foil"))
    names = {"neuron": neuron_name(*results.neuron), "answer": answer, "foil": foil}
    columns = {name: rounded(table[name]) for name in ("value", "in_clean", "in_corrupted", *ENDS)}
    data = {**columns, **names, **{f"{end}_activation": rounded(table[f"{end}_activation"]) for end in ENDS}}
    shown = {**names, "rows": dose_rows(table), "figures": ["dose_response_fig"]}
    return Section("dose", "Dose and response", shown, data)


def dose_rows(table: Table) -> list[dict[str, Any]]:
    """Return each prompt as it is, and at which activation its logit difference changes its sign."""
    return [
        {
            "prompt": end if len(table[end]) == 1 else f"{end} {number + 1}",
            "activation": float(table[f"{end}_activation"][number]),
            "difference": float(table[end][number]),
            "crossings": crossings(table["value"], table[f"in_{end}"][number]),
        }
        for number in range(len(table["clean"]))
        for end in ENDS
    ]


def crossings(value: np.ndarray, curve: np.ndarray) -> list[float]:
    """Return where a curve changes its sign, on straight lines between its values."""
    change = np.flatnonzero((curve[:-1] < 0) != (curve[1:] < 0))
    share = curve[change] / (curve[change] - curve[change + 1])
    return [float(each) for each in value[change] + share * (value[change + 1] - value[change])]


def together_section(results: Results) -> Section | None:
    """Show what the first k of each ranking do, on held-out prompt pairs where there are some; None without curves."""
    if "curves" not in results:
        return None
    table = results.table("curves")
    part = next(part for part in PARTS if (table["part"] == part).any())
    number = int((table["part"] == part).sum())
    rows = area_rows(pd.read_csv(results.path("areas")), table)
    of = f"{number} {PARTS[part]}{'' if number == 1 else 's'}"
    figures = {"recovery_figures": ["recovery_curves_fig"], "faithfulness_figures": ["faithfulness_curves_fig"]}
    held_out = any(row["cpr_held_out"] is not None for row in rows)
    shown = {"pairs": of, "rows": rows, "enough": ENOUGH, "held_out": held_out, **figures}
    return Section("together", "The best nodes together", shown, {"curves": curves(table, part)})


def curves(table: Table, part: str) -> list[dict[str, Any]]:
    """Return each ranking by signed effect as curves: means over a part's prompt pairs by k, from 1 on."""
    means = {name: table[name][:, table["part"] == part].mean(1) for name in MEASURES}
    drawn = []
    for kind, ranking in _rankings(table):
        rows = np.flatnonzero((table["kind"] == kind) & (table["ranking"] == ranking) & (table["k"] > 0))
        if "," not in ranking and len(rows):
            drawn.append({"kind": kind, "ranking": ranking, "k": table["k"][rows].tolist(),
                          "first": [", ".join(_first(table, int(row))[:FIRST]) for row in rows],
                          **{name: rounded(means[name][rows], 4) for name in MEASURES}})  # fmt: skip
    return drawn


def area_rows(areas: pd.DataFrame, table: Table) -> list[dict[str, Any]]:
    """Return each ranking as a row: its areas, its smallest set, and its first nodes; None where a number is none.

    Parameters
    ----------
    areas
        circuit/areas.csv.
    table
        circuit/curves.h5.
    """
    numbers = [str(name) for name in areas if name not in ("kind", "ranking", "smallest")]
    rows: list[dict[str, Any]] = []
    for row in areas.to_dict("records"):
        last = np.flatnonzero((table["kind"] == row["kind"]) & (table["ranking"] == row["ranking"]))[-1]
        smallest = int(row["smallest"]) if row["smallest"] >= 0 else None
        known = {name: rounded(row[name]) for name in numbers}
        rows.append({"kind": row["kind"], "ranking": row["ranking"], "smallest": smallest, **known,
                     "first": _first(table, int(last))[:FIRST]})  # fmt: skip
    return rows


def _rankings(table: Table) -> list[tuple[str, str]]:
    return list(dict.fromkeys(zip(table["kind"].tolist(), table["ranking"].tolist(), strict=True)))


def _first(table: Table, row: int) -> list[str]:
    return [name for name in table["first"][row].tolist() if name]
