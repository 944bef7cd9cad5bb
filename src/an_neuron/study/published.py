"""Measured against published values: one row a quantity, with a verdict."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.pages import write_page
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.layers import of_layer
from an_neuron.patching.prompt_set import DEVELOPMENT, HELD_OUT, statistics
from an_neuron.study.published_values import COLUMNS, published_rows

COMPARED = Schema(
    "published.csv",
    "measured beside published values",
    {
        "quantity": Field("row", "text", "", "what is compared"),
        "published": Field("row", "text", "", "the published value"),
        "measured": Field("row", "text", "", "the study's value, numbers to five digits; empty where not measured"),
        "tolerance": Field("row", "text", "", "largest difference that passes; exact for values that must be the same"),
        "verdict": Field("row", "text", "", "reproduced, differs or not measured"),
        "source": Field("row", "text", "", "where the value was published"),
    },
)
PAGE = Schema("published.html", "the same as a page, verdicts in colour")
ROUNDING = 1e-6
"""Part of a tolerance that is left to the rounding of float32, so that a difference of exactly the tolerance passes."""
Value = str | float | int


def read_published(path: Path) -> pd.DataFrame:
    """Read published values: quantity, published, tolerance (0 for values that must be the same), source.

    Raises
    ------
    UserError
        If the file cannot be read as `published_rows` says.
    """
    return pd.DataFrame(published_rows(path), columns=COLUMNS)


def compare(published: pd.DataFrame, measured: Mapping[str, Value]) -> pd.DataFrame:
    """Put measured beside published values.

    Returns
    -------
    pandas.DataFrame
        quantity, published, measured, tolerance, verdict (reproduced, differs or not measured), source.
    """
    rows = []
    for quantity, expected, tolerance, source in published[COLUMNS].to_numpy().tolist():
        value = measured.get(quantity)
        verdict = "not measured" if value is None else _verdict(expected, value, tolerance)
        shown = "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)
        rows.append([quantity, expected, shown, tolerance or "exact", verdict, source])
    return pd.DataFrame(rows, columns=list(COMPARED.fields))


def _verdict(published: str, measured: Value, tolerance: float) -> str:
    if tolerance:
        difference = abs(float(published) - float(measured))
        return "reproduced" if difference <= tolerance * (1 + ROUNDING) else "differs"
    return "reproduced" if published == str(measured) else "differs"


def summary(compared: pd.DataFrame) -> str:
    """Return how many quantities were reproduced, and which were not."""
    counts = compared["verdict"].value_counts()
    said = f"{counts.get('reproduced', 0)} of {len(compared)} published values reproduced"
    for verdict in ("differs", "not measured"):
        names = compared.loc[compared["verdict"] == verdict, "quantity"]
        if len(names):
            said += f"; {verdict}: {', '.join(names)}"
    return f"{said}."


def write_html(compared: pd.DataFrame, path: Path) -> None:
    """Write the comparison as a small page, verdicts in colour."""
    colours = {"reproduced": "#1a7f37", "differs": "#cf222e", "not measured": "#6e7781"}
    styled = compared.style.format(str, escape="html").map(lambda text: f"color: {colours[text]}", subset=["verdict"])
    write_page(path, styled, summary(compared))


def measure(tables: Mapping[str, Path]) -> dict[str, Value]:
    """Read from a study's tables every quantity that a published value can be held against.

    Parameters
    ----------
    tables
        Paths of predictions, lens, resid_pre, attn_out, mlp_out, neurons, neuron (its congruence), top_neurons,
        activations (of all associations), association (the studied one), drivers (heads that drive its neuron) and
        ablated (predictions without it); prompt_set and choice where there are any.
    """
    read = {name: hdf5.read(path) for name, path in tables.items() if name != "activations"}
    return dict(
        [
            *_predictions(read["predictions"]),
            *_lens(read["lens"]),
            *_maps(read["resid_pre"], read["attn_out"], read["mlp_out"]),
            *_neurons(read["neurons"], int(read["neuron"].attributes["layer"])),
            *_congruence(read["neuron"], read["top_neurons"]),
            *_corpus(tables["activations"]),
            *_thresholds(read["association"]),
            *_drivers(read["drivers"]),
            *_ablated(read["ablated"]),
            *(_prompt_set(read["prompt_set"]) if "prompt_set" in read else ()),
            *(_choice(read["choice"]) if "choice" in read else ()),
        ]
    )


def _predictions(table: Table) -> Iterator[tuple[str, Value]]:
    yield "answer id", int(table.attributes["answer_id"])
    yield "foil id", int(table.attributes["foil_id"])
    for number, name in enumerate(table["name"]):
        yield f"{name}: tokens", int(table["length"][number])
        yield from _prediction(table, name, number)


def _ablated(table: Table) -> Iterator[tuple[str, Value]]:
    """Yield what is predicted with the neuron switched off and negated."""
    for place in np.ndindex(table["logit_difference"].shape):
        prompt, intervention = table["name"][place[0]], table["intervention"][place[1]]
        if intervention != "none":
            yield from _prediction(table, f"{prompt}, {intervention}", place)


def _prediction(table: Table, name: str, place: Any) -> Iterator[tuple[str, Value]]:
    """Yield one of a file's predictions."""
    yield f"{name}: logit difference", float(table["logit_difference"][place])
    for at, token in enumerate(("answer", "foil")):
        yield f"{name}: logit of the {token}", float(table["logit"][place][at])
        yield f"{name}: probability of the {token} in %", 100 * float(table["probability"][place][at])
    ranks = zip(*(table[f"top_{what}"][place].tolist() for what in ("token", "logit", "probability")), strict=True)
    for rank, (token, logit, probability) in enumerate(ranks, start=1):
        yield f"{name}: token {rank}", repr(token)
        yield f"{name}: logit {rank}", logit
        yield f"{name}: probability {rank} in %", 100 * probability


def _lens(table: Table) -> Iterator[tuple[str, Value]]:
    curve = table["mean_logit_difference"]
    yield "logit lens: points", len(curve)
    yield "logit lens: peak at layer", f"{table['x'][curve.argmax()]:g}"
    yield "logit lens: peak", float(curve.max())


def _maps(resid: Table, attention: Table, mlp: Table) -> Iterator[tuple[str, Value]]:
    for name, table in (("resid_pre", resid), ("attn_out", attention), ("mlp_out", mlp)):
        layer, pos = np.unravel_index(np.nanargmax(table["recovery"]), table["recovery"].shape)
        yield f"{name}: shape", "x".join(map(str, table["recovery"].shape))
        yield f"{name}: peak at layer", int(layer)
        yield f"{name}: peak at position", int(pos)
        yield f"{name}: peak recovery", float(table["recovery"][layer, pos])
    best = np.nanmax(mlp["recovery"], axis=1)
    yield "mlp_out: two strongest layers", " ".join(str(layer) for layer in sorted(np.argsort(-best)[:2].tolist()))


def _neurons(table: Table, layer: int) -> Iterator[tuple[str, Value]]:
    """Yield the best and the worst neurons of a layer; of one that was not patched as a whole only the best of them."""
    recovery, whole = of_layer(table, layer), not np.isnan(of_layer(table, layer)).any()
    order = np.argsort(-recovery)
    yield "neurons: layer", layer
    yield "neurons: best", int(order[0])
    yield "neurons: best recovery", float(recovery[order[0]])
    if not whole:
        return
    yield "neurons: second best", int(order[1])
    yield "neurons: second recovery", float(recovery[order[1]])
    yield "neurons: worst", int(order[-1])
    yield "neurons: worst recovery", float(recovery[order[-1]])


def _congruence(neuron: Table, top: Table) -> Iterator[tuple[str, Value]]:
    yield "top neurons: shape", "x".join(map(str, top["index"].shape))
    tokens = list(neuron["token"])
    for name in ("W_out_dot_W_U", "W_out_dot_W_E", "W_in_dot_W_E"):
        yield f"{name}: best token", repr(tokens[int(neuron[name].argmax())])
        for token, value in zip(tokens, neuron[name].tolist(), strict=True):
            yield f"{name}: {token!r}", value


def _corpus(path: Path) -> Iterator[tuple[str, Value]]:
    with hdf5.opened(path) as file:
        ids, vocabulary = file["token_id"], file["vocabulary"].asstr()
        yield "corpus: rows", int(ids.shape[0])
        yield "corpus: tokens per row", int(ids.shape[1])
        yield "corpus: occurrences", int(file["occurrences"][0])
        yield "corpus: top predictions", int(file["top_predictions"][0])
        yield "corpus: first tokens", " ".join(repr(vocabulary[int(token)]) for token in ids[0, 1:11])


def _thresholds(association: Table) -> Iterator[tuple[str, Value]]:
    for name in ("threshold", "precision", "recall"):
        yield f"corpus: best {name}", float(association.attributes[f"best_{name}"])


def _drivers(table: Table) -> Iterator[tuple[str, Value]]:
    if not np.isfinite(table["recovery"]).any():
        return
    layer, head = np.unravel_index(int(np.abs(table["recovery"]).argmax()), table["recovery"].shape)
    yield "drivers: strongest head", f"{layer}.{head}"
    yield "drivers: its recovery", float(table["recovery"][layer, head])
    yield "drivers: clean activation", float(table["clean"].mean())
    yield "drivers: corrupted activation", float(table["corrupted"].mean())


def _prompt_set(table: Table) -> Iterator[tuple[str, Value]]:
    for part in (DEVELOPMENT, HELD_OUT):
        stats = {name: values[0] for name, values in statistics(table, part, [0]).items()}
        yield f"prompt set, {part}: prompt pairs", int(stats["prompt_pairs"])
        yield f"prompt set, {part}: mean recovery", float(stats["mean"])
        yield f"prompt set, {part}: standard error", float(stats["standard_error"])
        for end in ("low", "high"):
            yield f"prompt set, {part}: {end} end of the interval", float(stats[end])
        yield f"prompt set, {part}: corrected p", float(stats["p_corrected"])
        yield f"prompt set, {part}: times best", int(stats["times_best"])


def _choice(table: Table) -> Iterator[tuple[str, Value]]:
    yield "choice: positions", int(table.attributes["n_positions"])
    for name in ("pearson", "spearman"):
        yield f"choice: {name}", float(table.attributes[name])
    yield "choice: least active, p(answer)", float(table["mean_p_answer"][0])
    yield "choice: most active, p(answer)", float(table["mean_p_answer"][-1])
