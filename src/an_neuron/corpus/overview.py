"""All associations of a study in one table, associations.csv and associations.html: what the corpus shows of each."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from an_neuron.corpus.associations import Association
from an_neuron.files.hdf5 import Table
from an_neuron.files.pages import write_page
from an_neuron.files.schema import Field, Schema

OVERVIEW = Schema(
    "associations.csv",
    "what the corpus shows of each association",
    {
        "token": Field("row", "text", "", "the token, or the group with slashes between its tokens, in quotes"),
        "token_id": Field("row", "int32", "token id", "its id; of a group that of its first token"),
        "layer": Field("row", "int32", "", "the neuron's layer"),
        "index": Field("row", "int32", "", "the neuron's number in its layer"),
        "source": Field("row", "text", "", "studied, listed or exclusive"),
        "occurrences": Field("row", "int64", "tokens", "how often the token stands in the corpus"),
        "top_predictions": Field("row", "int64", "tokens", "how often it is the top prediction"),
        "largest_activation": Field("row", "float32", "", "the neuron's largest activation"),
        "lowest_activation": Field("row", "float32", "", "of signed neurons the lowest activation", optional=True),
        "direction": Field(
            "row",
            "text",
            "",
            "of signed neurons: above if 'activation > threshold' was compared, else below",
            optional=True,
        ),
        "best_threshold": Field("row", "float32", "", "the threshold of activation with the largest F1"),
        "best_precision": Field("row", "float32", "1", "its precision as a predictor of the top prediction"),
        "best_recall": Field("row", "float32", "1", "its recall"),
        "best_f1": Field("row", "float32", "1", "its F1"),
    },
)
OVERVIEW_PAGE = Schema("associations.html", "the same as a page to read")
OF_SIGNED = ("lowest_activation", "direction")
BEST = ("best_threshold", "best_precision", "best_recall", "best_f1")


def associations_frame(associations: Sequence[Association], tables: Iterable[Table]) -> pd.DataFrame:
    """Return a row for each association, in their order.

    Parameters
    ----------
    associations
        The associations of a study.
    tables
        activations/{association}.h5 of each.

    Returns
    -------
    pandas.DataFrame
        The columns of `OVERVIEW`, those of signed neurons only where the neurons are.
    """
    rows = [_row(one, table) for one, table in zip(associations, tables, strict=True)]
    signed = any("direction" in row for row in rows)
    columns = [name for name in OVERVIEW.fields if signed or name not in OF_SIGNED]
    return pd.DataFrame(rows, columns=columns).round(4)


def _row(association: Association, table: Table) -> dict[str, Any]:
    """Return the columns of one association, by name."""
    attributes = table.attributes
    row = {"token": repr(association.token)}
    row |= {name: getattr(association, name) for name in ("token_id", "layer", "index", "source")}
    row |= {name: attributes[name] for name in ("occurrences", "top_predictions", *BEST)}
    row["largest_activation"] = attributes["largest"]
    if attributes["signed"]:
        row["lowest_activation"] = table["example_activation"].min(initial=np.inf)
        row["direction"] = attributes["direction"]
    return row


def write_associations_html(frame: pd.DataFrame, path: Path, more: str = "") -> None:
    """Write the associations as a small page, with a sentence more on how they were chosen."""
    compared = '"activation > threshold" (below: "<")' if "direction" in frame else '"activation > threshold"'
    shown = frame.rename(columns=lambda name: name.replace("_", " "))
    styled = shown.style.format(precision=3, na_rep="–", thousands=",", escape="html")
    sentence = f"{len(frame)} associations; precision and recall of {compared} as a predictor of the top prediction."
    write_page(path, styled, f"{sentence} {more}".rstrip())
