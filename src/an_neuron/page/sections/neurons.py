"""Every neuron: its recovery, what is known of it besides, and attribution patching's estimate."""

from typing import Any

import numpy as np

from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name, spellings_of
from an_neuron.page.results import Results, Section
from an_neuron.page.values import packed, quoted, rounded
from an_neuron.patching.again import precision_sentence
from an_neuron.patching.screened import bound_sentence, screening_sentence


def neurons_section(results: Results) -> Section:
    """Show all neurons, and the table of those that the map lists."""
    table = results.table("map")
    listed = listed_neurons(table)
    shape = {"layers": table["layer"].tolist(), "d_mlp": table["recovery"].shape[1]}
    data = {**shape, "recovery": packed(table["recovery"]), "listed": listed, "studied": neuron_name(*results.neuron)}
    data["least"] = rounded(table.attributes["least"])
    rows = [{"name": name, **of} for name, of in listed.items()]
    shown = {"n_neurons": patched(table["recovery"]), "rows": rows, "figures": ["neuron_map_fig"]}
    said = {"screening": screening_sentence(table.attributes), "bound": bound_sentence(table.attributes)}
    shown |= {"precision": precision_sentence(table.attributes), **said}
    return Section("neurons", "The neurons that were patched" if said["screening"] else "Every neuron", shown, data)


def patched(recovery: np.ndarray) -> int:
    """Return how many neurons have a recovery."""
    return int((~np.isnan(recovery)).sum())


def listed_neurons(table: Table) -> dict[str, dict[str, Any]]:
    """Return the neurons of the largest absolute recovery by name: rank, recovery, change, and their tokens."""
    names = map(neuron_name, table["top_layer"].tolist(), table["top_index"].tolist())
    compared = table.attributes["answer"], table.attributes["foil"]
    rows = zip(names, *(table[f"top_{name}"].tolist() for name in ("recovery", "change")), table["top_tokens"],
               table["lowered_tokens"], strict=True)  # fmt: skip
    return {
        name: {
            "rank": rank,
            "recovery": rounded(recovery),
            "change": rounded(change),
            "raised": quoted(raised),
            "label": quoted(spellings_of(compared, raised)[:1]),
            "lowered": quoted(lowered),
        }
        for rank, (name, recovery, change, raised, lowered) in enumerate(rows, start=1)
    }


def attribution_section(results: Results) -> Section:
    """Show exact recovery against attribution patching's estimate."""
    table = results.table("attribution")
    of = table.attributes
    known = {name: rounded(of[name], 3) for name in ("rank_correlation", "rank_correlation_top", "floor")}
    counts = {name: int(of[name]) for name in ("n_above_floor", "n_top")}
    gap = np.abs(table["exact"] - table["approximate"])
    row, index = np.unravel_index(int(np.nanargmax(gap)), gap.shape)
    worst = {
        "name": neuron_name(int(table["layer"][row]), int(index)),
        "exact": float(table["exact"][row, index]),
        "approximate": float(table["approximate"][row, index]),
    }
    shown = {**known, **counts, "n_neurons": patched(gap), "worst": worst, "figures": ["attribution_fig"]}
    return Section("attribution", "Exact against approximate", shown, {"approximate": packed(table["approximate"])})
