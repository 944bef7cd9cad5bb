"""All pairs of a study in one table: what the corpus shows of each."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from an_neuron.corpus.associations import TokenNeuron
from an_neuron.files.hdf5 import Table
from an_neuron.files.pages import write_page

MEASURED = (
    "occurrences", "top_predictions", "largest", "best_threshold", "best_precision", "best_recall", "best_f1",
)  # fmt: skip


def pairs_frame(pairs: Sequence[TokenNeuron], tables: Iterable[Table]) -> pd.DataFrame:
    """Return a row for each pair, in their order.

    Parameters
    ----------
    pairs
        The pairs of a study.
    tables
        activations/{pair}.h5 of each.

    Returns
    -------
    pandas.DataFrame
        token (in quotes), token_id, layer, neuron, source, how often the token occurs and is the top prediction, the
        largest activation, and the threshold of activation with the largest F1, with its precision, recall and F1.
    """
    rows = []
    for pair, table in zip(pairs, tables, strict=True):
        own = [repr(pair.token), pair.token_id, pair.layer, pair.index, pair.source]
        rows.append(own + [table.attributes[name] for name in MEASURED])
    names = [
        "token",
        "token_id",
        "layer",
        "neuron",
        "source",
        *(name.replace("largest", "largest_activation") for name in MEASURED),
    ]
    return pd.DataFrame(rows, columns=names).round(4)


def write_pairs_html(frame: pd.DataFrame, path: Path) -> None:
    """Write the pairs as a small page, the best F1 first among the aligned."""
    shown = frame.rename(columns=lambda name: name.replace("_", " "))
    styled = shown.style.format(precision=3, na_rep="–", thousands=",", escape="html")
    said = f'{len(frame)} pairs; precision and recall of "activation > threshold" as a predictor of the top prediction.'
    write_page(path, styled, said)
