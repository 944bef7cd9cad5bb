"""Both prompts, token by token, and what the model predicts after each."""

from collections.abc import Iterator
from typing import Any

from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import printable
from an_neuron.page.results import Results, Section
from an_neuron.page.values import quoted

KINDS = ("clean", "corrupted")


def prompts_section(results: Results) -> Section:
    """Show each prompt pair, with the tokens that differ and the most likely next tokens."""
    tokens, predictions = results.table("tokens"), results.table("predictions")
    names = {name: row for row, name in enumerate(predictions["name"].tolist())}
    several = len(tokens["clean_id"]) > 1
    pairs = [
        [_prompt(tokens, predictions, kind, number, names[f"{kind} {number}" if several else kind]) for kind in KINDS]
        for number in range(len(tokens["clean_id"]))
    ]
    asked = dict(zip(("answer", "foil"), quoted(tokens.attributes[name] for name in ("answer", "foil")), strict=True))
    return Section("prompts", "The prompts", {"pairs": pairs, **asked})


def _prompt(tokens: Table, predictions: Table, kind: str, number: int, row: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "tokens": list(_tokens(tokens, kind, number)),
        "predicted": list(_predicted(predictions, row)),
        "difference": float(predictions["logit_difference"][row]),
    }


def _tokens(tokens: Table, kind: str, number: int) -> Iterator[tuple[str, bool]]:
    """Yield each token of a prompt, and whether it is another one in the other prompt; -1 stands before a short one."""
    differs = tokens["clean_id"][number] != tokens["corrupted_id"][number]
    for token, of, other in zip(tokens[f"{kind}_token"][number], tokens[f"{kind}_id"][number], differs, strict=True):
        if of >= 0:
            yield printable(token), bool(other)


def _predicted(predictions: Table, row: int) -> Iterator[dict[str, Any]]:
    """Yield the most likely next tokens, and answer and foil where they are not among them."""
    ids = predictions["top_id"][row].tolist()
    listed = zip(ids, predictions["top_token"][row], predictions["top_probability"][row].tolist(), strict=True)
    for token_id, token, probability in listed:
        yield {"token": quoted([token])[0], "probability": probability, "kind": _kind(predictions, token_id)}
    for place, name in enumerate(("answer", "foil")):
        if int(predictions.attributes[f"{name}_id"]) not in ids:
            probability = float(predictions["probability"][row, place])
            yield {"token": quoted([predictions.attributes[name]])[0], "probability": probability, "kind": name}


def _kind(predictions: Table, token_id: int) -> str:
    named = {int(predictions.attributes[f"{name}_id"]): name for name in ("answer", "foil")}
    return named.get(token_id, "")
