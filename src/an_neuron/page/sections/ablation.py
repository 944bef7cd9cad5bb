"""What the model loses over the corpus without the neurons of its associations."""

from ast import literal_eval
from typing import Any

import pandas as pd

from an_neuron.files.texts import neuron_name
from an_neuron.page.results import Results, Section
from an_neuron.page.values import quoted, rounded

DONE = {"zero": "switched off", "mean": "held at its mean", "negated": "negated"}
PLACES = ("token", "foil", "elsewhere")
NUMBERS = [
    *("loss", "loss_ablated", "loss_change", "loss_change_low", "loss_change_high"),
    *("probability", "probability_ablated"),
]


def ablation_section(results: Results) -> Section | None:
    """Show by how much each intervention changes the loss; None where it was not measured."""
    if "ablation" not in results:
        return None
    foil = quoted([results.table("circuit").attributes["foil"]])[0]
    summary = pd.read_csv(results.path("ablation"))
    rows = ablation_rows(summary, foil)
    first = {name: rows[0][name] for name in ("neuron", "token")}
    drawn = [row for row in rows if all(row[name] == value for name, value in first.items())]
    shown = {**first, "rows": rows, "figures": ["ablation_fig"], "resampled": summary["resampled"][0]}
    return Section("ablation", "Over the corpus, without it", shown, {"groups": groups(drawn)})


def ablation_rows(summary: pd.DataFrame, foil: str) -> list[dict[str, Any]]:
    """Return ablation/summary.csv as rows: the neuron, what is done to it, and what follows there.

    Parameters
    ----------
    summary
        ablation/summary.csv.
    foil
        The foil, in quotes.
    """
    rows = []
    for row in summary.to_dict("records"):
        (token,) = quoted([literal_eval(row["token"])])
        follows = {"token": token, "foil": foil, "elsewhere": "another token"}[row["place"]]
        rows.append({"token": token, "neuron": neuron_name(row["layer"], row["index"]), "place": row["place"],
                     "done": DONE[row["intervention"]], "follows": follows, "n": int(row["n"]),
                     "n_rows": int(row["n_rows"]), **{name: rounded(row[name]) for name in NUMBERS}})  # fmt: skip
    return rows


def groups(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one association's rows by what follows, as they are drawn from above."""
    found = [[row for row in rows if row["place"] == place] for place in PLACES]
    return [
        {"follows": group[0]["follows"], "n": group[0]["n"], "loss": group[0]["loss"], "rows": group}
        for group in found
        if group
    ]
