"""What the model loses over a corpus without its studied neurons: ablation/losses.h5 and ablation/summary.csv."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from an_neuron.corpus.associations import Association
from an_neuron.corpus.intervals import mean_intervals, sums_of_groups
from an_neuron.corpus.recorded import ASSOCIATION_FIELDS, add_associations
from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema

INTERVENTIONS = ("zero", "mean", "negated")
PLACES = ("token", "foil", "elsewhere")
"""What follows: the association's token (one of its group); the foil, for the answer's associations; or another one."""
QUANTITIES = {
    "loss": ("nats", "next-token loss"),
    "probability": ("1", "probability of the association's token, or of any of its group"),
    "logit_difference": ("logits", "logit(answer) - logit(foil); NaN for associations of another token"),
}
OF_PLACE, OF_CHANGE = "association row place", "association intervention row place"
LOSSES = Schema(
    "ablation/losses.h5",
    "the model with each association's neuron switched off, held at its mean or negated, at every token of the corpus: "
    "sums over the places of each row",
    {
        **ASSOCIATION_FIELDS,
        "group": Field("row", "int32", "", "rows of one group are drawn together for intervals"),
        "mean": Field(
            "association",
            "float32",
            "",
            "the neuron's mean activation over the corpus, BOS left out",
        ),
        "intervention": Field(
            "intervention", "text", "", "what takes the place of the activation: zero, its mean, or its negative"
        ),
        "place": Field(
            "place", "text", "", "what follows: the token (one of the group), the foil, or something else (elsewhere)"
        ),
        "count": Field(OF_PLACE, "int64", "tokens", "how many such places there are; those of BOS are not predicted"),
        **{
            name: Field(dims, "float32", unit, f"sum over these places of {of}the {what}")
            for quantity, (unit, what) in QUANTITIES.items()
            for name, dims, of in (
                (quantity, OF_PLACE, ""),
                (f"{quantity}_change", OF_CHANGE, "ablated - unablated of "),
            )
        },
    },
    {
        "foil": "the foil",
        "foil_id": "its token id",
        "readout": "unembedding: the model's own logits",
        "precision": "highest: float32",
        "resampled": "what a group is: document (rows that begin in the same one), or row",
        "way": "above where only the blocks from a neuron's layer on ran again, whole where the model did",
        "spot_check": "largest difference in nats from the first row's losses by plain forwards of the whole model",
    },
)
SUMMARY = Schema(
    "ablation/summary.csv",
    "what the model loses over the corpus without each association's neuron; 95 % bootstrap intervals",
    {
        "token": Field("row", "text", "", "the token, in quotes"),
        "layer": Field("row", "int32", "", "the neuron's layer"),
        "index": Field("row", "int32", "", "the neuron's number in its layer"),
        "intervention": Field("row", "text", "", "what takes the place of the activation: zero, mean or negated"),
        "place": Field("row", "text", "", "what follows: token, foil, or something else (elsewhere)"),
        "n": Field("row", "int64", "tokens", "how many such places there are"),
        "n_rows": Field("row", "int64", "", "in how many rows of the corpus"),
        "resampled": Field("row", "text", "", "what is drawn for intervals: document (rows that begin in it), or row"),
        **{
            f"{quantity}{ending}": Field("row", "float32", unit, said.format(what))
            for quantity, (unit, what) in QUANTITIES.items()
            for ending, said in (
                ("", "mean {}, unablated"),
                ("_ablated", "the same, ablated"),
                ("_change", "ablated - unablated"),
                ("_change_low", "lower end of its interval"),
                ("_change_high", "upper end"),
            )
        },
    },
)


@dataclass(frozen=True)
class Ablation:
    """What a pass found.

    Attributes
    ----------
    sums
        count and the quantities, by name, as ablation/losses.h5 has them.
    way
        `above` or `whole`, see `Ablator`.
    spot_check
        Largest difference in nats between the first row's losses and those of plain forwards of the whole model.
    """

    sums: dict[str, np.ndarray]
    way: str
    spot_check: float


def losses_bytes(n_associations: int, n_rows: int) -> int:
    """Return how large ablation/losses.h5 will be at least."""
    axes = {"association": n_associations, "row": n_rows, "intervention": len(INTERVENTIONS), "place": len(PLACES)}
    return LOSSES.n_bytes(**axes)


def write_losses(
    path: Path,
    associations: Sequence[Association],
    means: Sequence[float],
    ablation: Ablation,
    groups: tuple[str, np.ndarray],
    attributes: Mapping[str, Any],
) -> None:
    """Write ablation/losses.h5.

    Parameters
    ----------
    means
        Mean activations.
    ablation
        What a pass found.
    groups
        What is drawn for intervals, and the group of each row, [row].
    attributes
        Root attributes, foil and foil_id among them.
    """
    how = {"readout": "unembedding", "precision": "highest", "way": ablation.way, "spot_check": ablation.spot_check}
    with hdf5.create(path, LOSSES, {**attributes, **how, "resampled": groups[0]}) as writer:
        add_associations(writer, associations)
        writer.add("group", groups[1])
        writer.add("mean", means)
        writer.add("intervention", INTERVENTIONS)
        writer.add("place", PLACES)
        for name, values in ablation.sums.items():
            writer.add(name, values)


def ablation_frame(table: Table) -> pd.DataFrame:
    """Return a row for each association, intervention and place that occurs.

    Parameters
    ----------
    table
        ablation/losses.h5.

    Returns
    -------
    pandas.DataFrame
        The columns of `SUMMARY`.
    """
    statistics = {name: list(_statistics(table, name)) for name in QUANTITIES}
    columns = [*SUMMARY.fields]
    rows = [
        {**identity, **{key: value for name in QUANTITIES for key, value in statistics[name][number].items()}}
        for number, identity in enumerate(_identities(table))
    ]
    return pd.DataFrame([row for row in rows if row["n"]], columns=columns)


def write_summary(path: Path, frame: pd.DataFrame) -> None:
    """Write ablation/summary.csv."""
    SUMMARY.check_names(frame.columns)
    write_csv(path, frame.round(7))


def _identities(table: Table) -> Iterator[dict[str, Any]]:
    """Yield the first columns of each association, intervention and place, in this order."""
    count = table["count"]
    for number, token in enumerate(table["association_token"].tolist()):
        for intervention in table["intervention"].tolist():
            for at, place in enumerate(table["place"].tolist()):
                yield {
                    "token": repr(token),
                    "layer": int(table["association_layer"][number]),
                    "index": int(table["association_index"][number]),
                    "intervention": intervention,
                    "place": place,
                    "n": int(count[number, :, at].sum()),
                    "n_rows": int((count[number, :, at] > 0).sum()),
                    "resampled": table.attributes["resampled"],
                }


def _statistics(table: Table, name: str) -> Iterator[dict[str, float]]:
    """Yield a quantity's columns, in the same order."""
    change = table[f"{name}_change"].astype(np.float64)
    counts = np.broadcast_to(table["count"][:, None], change.shape).astype(np.float64)
    unablated = np.broadcast_to(table[name][:, None], change.shape).astype(np.float64)
    by_row = (np.moveaxis(values, 2, 0).reshape(change.shape[2], -1) for values in (unablated, change, counts))
    unablated, change, counts = by_row
    with np.errstate(invalid="ignore", divide="ignore"):
        before, changed = unablated.sum(0) / counts.sum(0), change.sum(0) / counts.sum(0)
    low, high = mean_intervals(*(sums_of_groups(sums, table["group"]) for sums in (change, counts)))
    endings = ("", "_ablated", "_change", "_change_low", "_change_high")
    for values in zip(before, before + changed, changed, low, high, strict=True):
        yield {f"{name}{ending}": float(value) for ending, value in zip(endings, values, strict=True)}
