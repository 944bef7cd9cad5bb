"""The card of a neuron: what it writes, how active it is over the corpus, and where."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from an_neuron.corpus.associations import names_of, read_associations
from an_neuron.corpus.recordings import recording
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import neuron_name
from an_neuron.page.contexts import Context, recorded_contexts, summarised_contexts
from an_neuron.page.results import Results, Section
from an_neuron.page.values import quoted, rounded

WRITTEN = 10  # tokens that the studied neuron raises, and lowers


def card_section(results: Results) -> Section:
    """Give what is known of the associations' neurons; the card of any other shows what the map says."""
    associations = read_associations(results.path("associations"))
    tables = results.tables("recorded")
    contexts = _contexts(results, names_of(associations), tables)
    cards: dict[str, list[dict[str, Any]]] = {}
    for name, table, texts in zip(names_of(associations), tables, contexts, strict=True):
        neuron = neuron_name(int(table.attributes["layer"]), int(table.attributes["index"]))
        cards.setdefault(neuron, []).append({"name": name, **association_card(table, texts)})
    studied = neuron_name(*results.neuron)
    data = {"cards": cards, "written": {studied: written_tokens(results.table("weights"))}}
    return Section("card", "A neuron's card", {"studied": studied, "names": list(cards)}, data)


def association_card(table: Table, contexts: Sequence[Context]) -> dict[str, Any]:
    """Return what the corpus shows of a token and a neuron.

    Parameters
    ----------
    table
        activations/{association}.h5.
    contexts
        The text around each of its places, as `an_neuron.page.contexts` gives it.
    """
    of = table.attributes
    best = {name: rounded(of[f"best_{name}"], 3) for name in ("threshold", "precision", "recall", "f1")}
    counts = {name: int(of[name]) for name in ("n_tokens", "occurrences", "top_predictions")}
    ends = table["example_end"].tolist() if "example_end" in table.datasets else [""] * len(contexts)
    fields = ("activation", "margin"), ("next", "prediction")
    numbers = [rounded(table[f"example_{name}"], 4) for name in fields[0]]
    texts = [quoted(table[f"example_{name}"]) for name in fields[1]]
    examples = [
        {**context, **dict(zip(("end", *fields[0], *fields[1]), values, strict=True))}
        for context, *values in zip(contexts, ends, *numbers, *texts, strict=True)
    ]
    histogram = {"edge": rounded(table["bin_edge"]), "count": table["bin_count"].tolist()}
    signed, above = bool(of["signed"]), of["direction"] == "above"
    token = quoted([of["token"]])[0]
    return {**counts, **best, "token": token, "signed": signed, "above": above, "histogram": histogram,
            "examples": examples}  # fmt: skip


def written_tokens(weights: Table) -> dict[str, list[list[Any]]]:
    """Return the tokens whose logits a positive activation raises and lowers most, and W_out . W_U; the most first."""
    dots = weights["W_out_dot_W_U"]
    order = np.argsort(-dots, kind="stable")
    chosen = {"raised": order[:WRITTEN], "lowered": order[::-1][:WRITTEN]}
    return {
        kind: [list(pair) for pair in zip(quoted(weights["token"][ids]), rounded(dots[ids], 4), strict=True)]
        for kind, ids in chosen.items()
    }


def _contexts(results: Results, names: Sequence[str], tables: Sequence[Table]) -> list[list[Context]]:
    if "gathered" not in results:
        return [summarised_contexts(table) for table in tables]
    contexts: list[list[Context]] = []
    for name, table in zip(names, tables, strict=True):
        with recording(results.path("gathered"), name) as recorded:
            contexts.append(recorded_contexts(table, recorded))
    return contexts
