"""The candidates for a study's exclusive associations: activations/candidates.h5, and the same as a CSV."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from an_neuron.corpus.associations import Association
from an_neuron.files import hdf5
from an_neuron.files.atomic import write_csv
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema

TAKEN, ABSENT, SILENT = "taken", "token not in the corpus", "neuron does not fire"
CANDIDATES = Schema(
    "activations/candidates.h5",
    "the model's mutually exclusive associations, the clearest first, up to the last one that is recorded",
    {
        "token": Field("candidate", "text", "", "the token"),
        "token_id": Field("candidate", "int32", "token id", "its id"),
        "layer": Field("candidate", "int32", "", "the neuron's layer"),
        "index": Field("candidate", "int32", "", "the neuron's number in its layer"),
        "occurrences": Field("candidate", "int64", "tokens", "how often the token stands in the whole corpus"),
        "least": Field("candidate", "float32", "", "the neuron's lowest activation at the tokens looked at"),
        "most": Field("candidate", "float32", "", "its largest activation there"),
        "verdict": Field(
            "candidate", "text", "", f"{TAKEN}, or why it is passed over: {ABSENT}, or {SILENT} (above 0; or at all)"
        ),
    },
    {
        "n_tokens": "how many tokens were looked at, in rows spread evenly over the corpus, BOS left out",
        "signed": "whether neurons fire with either sign (gated MLPs)",
    },
)
CANDIDATES_CSV = Schema(
    "activations/candidates.csv",
    "the same as a table, tokens in quotes",
    {name: Field("row", field.kind, field.unit, field.description) for name, field in CANDIDATES.fields.items()},
)


def write_candidates(path: str | Path, csv: str | Path, frame: pd.DataFrame, attributes: Mapping[str, Any]) -> None:
    """Write activations/candidates.h5 and candidates.csv; the attributes hold those that the schema names."""
    hdf5.write(path, CANDIDATES, {name: frame[name].to_numpy() for name in CANDIDATES.fields}, attributes)
    write_csv(Path(csv), frame.assign(token=[repr(token) for token in frame["token"]]).round(4))


def taken_associations(table: Table) -> list[Association]:
    """Return the associations that activations/candidates.h5 takes, the clearest first."""
    columns = (table[name].tolist() for name in ("token", "token_id", "layer", "index", "verdict"))
    return [
        Association(str(token), token_id, layer, index, "exclusive")
        for token, token_id, layer, index, verdict in zip(*columns, strict=True)
        if verdict == TAKEN
    ]


def passed_over(table: Table) -> str:
    """Return a sentence on how many of the candidates were passed over, and why; none where there were none."""
    verdicts = table["verdict"].tolist()
    absent, silent = verdicts.count(ABSENT), verdicts.count(SILENT)
    if not absent + silent:
        return ""
    looked = f"{int(table.attributes['n_tokens']):,} tokens of it"
    return (
        f"Of the model's {len(verdicts)} clearest mutually exclusive associations {absent + silent} were passed over: "
        f"{absent} whose token does not occur in the corpus, and {silent} whose neuron does not fire at {looked}."
    )
