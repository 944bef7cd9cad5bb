"""All associations of a study in one table: what the corpus shows of each."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from an_neuron.corpus.associations import Association
from an_neuron.files.hdf5 import Table
from an_neuron.files.pages import write_page

MEASURED = (
    "occurrences", "top_predictions", "largest", "best_threshold", "best_precision", "best_recall", "best_f1",
)  # fmt: skip


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
        token (in quotes), token_id, layer, neuron, source, how often the token occurs and is the top prediction, the
        largest activation, and the threshold of activation with the largest F1, with its precision, recall and F1.
    """
    rows = []
    for association, table in zip(associations, tables, strict=True):
        own = [repr(association.token), association.token_id, association.layer, association.index, association.source]
        rows.append(own + [table.attributes[name] for name in MEASURED])
    names = [
        "token",
        "token_id",
        "layer",
        "index",
        "source",
        *(name.replace("largest", "largest_activation") for name in MEASURED),
    ]
    return pd.DataFrame(rows, columns=names).round(4)


def write_associations_html(frame: pd.DataFrame, path: Path) -> None:
    """Write the associations as a small page, the best F1 first among the aligned."""
    shown = frame.rename(columns=lambda name: name.replace("_", " "))
    styled = shown.style.format(precision=3, na_rep="–", thousands=",", escape="html")
    said = f'{len(frame)} associations; precision and recall of "activation > threshold" as a predictor of the top prediction.'
    write_page(path, styled, said)
