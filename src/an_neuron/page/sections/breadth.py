"""Whether it holds elsewhere: over prompt pairs of a set, and over a corpus."""

from typing import Any

import numpy as np

from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name, printable
from an_neuron.page.results import Results, Section
from an_neuron.page.values import quoted, rounded
from an_neuron.patching.prompt_set import DEVELOPMENT, HELD_OUT, names, statistics

PARTS = {DEVELOPMENT: "development", HELD_OUT: "held out"}
SHOWN_NEURONS = 8  # of the largest mean recovery
SHOWN_POSITIONS = 5_000  # of a corpus, of which a file may hold a hundred times as many


def breadth_section(results: Results) -> Section | None:
    """Show the prompt pairs of a set, and the choice over the corpus; None where a study has neither."""
    shown: dict[str, Any] = {"neuron": neuron_name(*results.neuron), "pairs": None, "choice": None}
    data: dict[str, Any] = {}
    if "prompt_set" in results:
        table = results.table("prompt_set")
        data["pairs"], shown["pairs"] = over_pairs(table), pair_rows(table)
        shown["n_neurons"] = table["recovery"].shape[1]
    if "choice" in results and results.table("choice").attributes["n_positions"]:
        data["choice"], shown["choice"] = over_corpus(results.table("choice")), choice_facts(results.table("choice"))
    return Section("breadth", "Over prompts and a corpus", shown, data) if data else None


def over_pairs(table: Table) -> dict[str, Any]:
    """Return the recovery of the neurons of the largest mean in each prompt pair, with means and standard errors."""
    shown = np.argsort(-np.abs(table["recovery"].mean(0)), kind="stable")[:SHOWN_NEURONS]
    parts = []
    for part, title in PARTS.items():
        rows = table["part"] == part
        if rows.any():
            stats = {name: values[shown] for name, values in statistics(table, part).items()}
            numbers = {name: rounded(stats[name]) for name in ("mean", "standard_error")}
            recovery = rounded(table["recovery"][rows][:, shown], 4)
            prompts = [printable(text) for text in table["clean_prompt"][rows]]
            parts.append({"title": title, "recovery": recovery, "prompts": prompts, **numbers,
                          "times_best": stats["times_best"].tolist()})  # fmt: skip
    return {"names": [names(table)[neuron] for neuron in shown], "parts": parts}


def pair_rows(table: Table) -> list[dict[str, Any]]:
    """Return each prompt pair as a row: its prompts, the studied neuron's recovery, and the best neuron."""
    best = table["recovery"].argmax(1)
    columns = (table["part"], table["clean_prompt"], table["corrupted_prompt"], table["recovery"][:, 0], best)
    return [
        {
            "part": PARTS[part],
            "clean": printable(clean),
            "corrupted": printable(corrupted),
            "recovery": float(recovery),
            "best": names(table)[place],
        }
        for part, clean, corrupted, recovery, place in zip(*columns, strict=True)
    ]


def over_corpus(table: Table) -> dict[str, Any]:
    """Return the places where answer or foil is to be expected, evenly chosen where they are many, and the bins."""
    n_positions = len(table["activation"])
    chosen = np.unique(np.linspace(0, n_positions - 1, min(n_positions, SHOWN_POSITIONS)).round().astype(int))
    places = {name: rounded(table[name][chosen], 4) for name in ("activation", "logit_difference")}
    bins = {name: rounded(table[name]) for name in ("edge", "mean_p_answer", "share_low", "share_high")}
    counts = {name: table[name].tolist() for name in ("count", "answers", "answers_or_foils")}
    answer, foil = quoted(table.attributes[name] for name in ("token", "foil"))
    return {**places, **bins, **counts, "next": table["next"][chosen].tolist(), "answer": answer, "foil": foil}


def choice_facts(table: Table) -> dict[str, Any]:
    """Return what is said of the choice: how many places, how many of them are drawn, the correlations, and on what."""
    of = table.attributes
    names_of = [f"{kind}{end}" for kind in ("pearson", "spearman") for end in ("", "_low", "_high")]
    answer, foil = quoted(of[name] for name in ("token", "foil"))
    counts = {name: int(of[name]) for name in ("n_positions", "n_held", "n_rows", "n_resamples")}
    drawn = min(int(of["n_held"]), SHOWN_POSITIONS)
    numbers = {name: float(of[name]) for name in (*names_of, "least_expected")}
    return {"answer": answer, "foil": foil, "resampled": of["resampled"], "drawn": drawn, **counts, **numbers}
