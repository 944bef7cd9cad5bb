"""The studied neuron of each model that was studied, side by side, and the published one of GPT-2 Large.

One row a study: in which layer the neuron lies, how much of the logit difference it recovers, what it writes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from pathlib import Path

import pandas as pd

from an_neuron.errors import UserError
from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema
from an_neuron.files.texts import neuron_name
from an_neuron.patching.again import RECOVERY
from an_neuron.study.built import Built
from an_neuron.study.published import read_published

MEASURED, PUBLISHED = "measured", "published, not measured here"
COMPARISON = Schema(
    "results/comparison.csv",
    "the studied neuron of each study that is built, and the published one",
    {
        "study": Field("row", "text", "", "the study"),
        "model": Field("row", "text", "", "its model"),
        "answer": Field("row", "text", "", "the token whose neuron it is"),
        "neuron": Field("row", "text", "", "layer.index"),
        "n_layers": Field("row", "int32", "", "the model's number of layers"),
        "depth": Field("row", "float32", "", "layer / (n_layers - 1): 0 = first layer, 1 = last one"),
        "recovery": Field("row", "float32", RECOVERY, "of the neuron patched at all positions"),
        "standard_error": Field("row", "float32", RECOVERY, "over the prompt pairs; empty for a single one"),
        "prompt_pairs": Field("row", "int32", "", "their number"),
        "raised": Field("row", "text", "", "tokens that the patch raised most; empty if top.csv lacks the neuron"),
        "source": Field("row", "text", "", f"{MEASURED}, or {PUBLISHED}"),
    },
)


@dataclass(frozen=True)
class Row:
    """A row of the table, except for what follows from its other values."""

    study: str
    model: str
    answer: str
    layer: int
    index: int
    n_layers: int
    recovery: float
    standard_error: float
    prompt_pairs: int
    raised: str
    source: str

    def columns(self) -> dict[str, object]:
        """Return the values of `COMPARISON`, rounded so that equal results give equal bytes."""
        return {
            "study": self.study,
            "model": self.model,
            "answer": self.answer,
            "neuron": neuron_name(self.layer, self.index),
            "n_layers": self.n_layers,
            "depth": round(self.layer / max(1, self.n_layers - 1), 4),
            "recovery": round(self.recovery, 5),
            "standard_error": round(self.standard_error, 5),
            "prompt_pairs": self.prompt_pairs,
            "raised": self.raised,
            "source": self.source,
        }


def compare_studies(studies: Iterable[Built], published: Path) -> pd.DataFrame:
    """Return a row for each built study, then the published one.

    Parameters
    ----------
    studies
        The built studies.
    published
        The published values of GPT-2 Large, resources/published/an_neuron.csv.
    """
    rows = [*map(measured_row, studies), published_row(published)]
    frame = pd.DataFrame([row.columns() for row in rows])
    COMPARISON.check_names(frame.columns)
    return frame


def measured_row(built: Built) -> Row:
    """Read a built study's row from its map and its sweep."""
    neuron_map, sweep = hdf5.read(built.map), hdf5.read(built.sweep)
    place = built.layer - int(sweep["layer"][0]), built.index
    return Row(
        study=built.study,
        model=str(neuron_map.attributes["model"]),
        answer=str(neuron_map.attributes["answer"]),
        layer=built.layer,
        index=built.index,
        n_layers=built.n_layers,
        recovery=float(sweep["recovery"][place]),
        standard_error=float(sweep["standard_error"][place]),
        prompt_pairs=len(sweep["clean"]),
        raised=_raised(neuron_map, built),
        source=MEASURED,
    )


def _raised(neuron_map: Table, built: Built) -> str:
    """Return the tokens that patching the neuron raised most, where it is in the map's list."""
    listed = (neuron_map["top_layer"] == built.layer) & (neuron_map["top_index"] == built.index)
    return " ".join(repr(token) for token in neuron_map["top_tokens"][listed].ravel())


def published_row(path: Path) -> Row:
    """Read the published neuron of GPT-2 Large, resources/published/an_neuron.csv: measured on one prompt pair."""
    table = read_published(path)
    values = dict(zip(table["quantity"], table["published"], strict=True))
    try:
        return Row(
            study="an_neuron",
            model="openai-community/gpt2-large",
            answer=" an",
            layer=int(values["neurons: layer"]),
            index=int(values["neurons: best"]),
            n_layers=int(values["resid_pre: shape"].partition("x")[0]),
            recovery=float(values["neurons: best recovery"]),
            standard_error=nan,
            prompt_pairs=1,
            raised="",
            source=PUBLISHED,
        )
    except KeyError as missing:
        raise UserError(f"{path} lacks the published quantity {missing}, which the comparison shows.") from missing


def left_out(studies: Iterable[str], compared: pd.DataFrame) -> list[str]:
    """Return the names of the studies that have no measured row."""
    return sorted(set(studies) - set(compared.loc[compared["source"] == MEASURED, "study"]))


def summary(compared: pd.DataFrame, absent: Sequence[str]) -> str:
    """Return which studies are compared, and which are not."""
    names = compared.loc[compared["source"] == MEASURED, "study"]
    said = f"Measured here: {', '.join(names) or 'none'}."
    return f"{said} Left out, because they are not built: {', '.join(absent)}." if absent else said
