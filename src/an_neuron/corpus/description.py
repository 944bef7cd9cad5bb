"""What a corpus shows of one association: activations/{association}.h5 and its predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from an_neuron.corpus.recordings import Recording, recording
from an_neuron.corpus.summaries import ACTIVATION_EDGES, FIRST_TOP, MARGIN_EDGES, OCTAVE_EDGES, Summary
from an_neuron.corpus.surroundings import places_with_texts
from an_neuron.corpus.thresholds import Curve, curve_of_counts, curve_of_values
from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema

if TYPE_CHECKING:
    from an_neuron.model.tokenizer import Tokenizer

DESCRIPTION = Schema(
    "activations/{association}.h5",
    "what the corpus shows of an association of a token and a neuron",
    {
        "bin_edge": Field("edge", "float32", "", "edges of bins of positive activation, of equal width"),
        "bin_count": Field(
            "bin is_top",
            "int64",
            "tokens",
            "tokens in (edge, next edge], by whether the token is the top prediction",
        ),
        "threshold": Field("threshold", "float32", "", "t of 'activation > t', ascending"),
        "precision": Field("threshold", "float32", "", "of it as a predictor that the token is the top prediction"),
        "recall": Field("threshold", "float32", "", "of it as a predictor that the token is the top prediction"),
        "example_activation": Field("example", "float32", "", "activation at the most activating places, best first"),
        "example_margin": Field("example", "float32", "logits", "the token's margin there"),
        "example_row": Field("example", "int32", "", "row of the corpus"),
        "example_pos": Field("example", "int32", "", "position in the row"),
        "example_before": Field("example", "text", "", "the text before the place"),
        "example_token": Field("example", "text", "", "the token at the place"),
        "example_after": Field("example", "text", "", "the text after it"),
        "example_next": Field("example", "text", "", "the token that follows in the text"),
        "example_prediction": Field("example", "text", "", "the model's top prediction"),
        "density": Field(
            "activation_bin margin_bin", "int64", "tokens", "with `keep: summary`: tokens in these bins", optional=True
        ),
        "activation_edge": Field("activation_edge", "float32", "", "edges of the activation's bins", optional=True),
        "margin_edge": Field("margin_edge", "float32", "logits", "edges of the margin's bins", optional=True),
    },
    {
        "keep": "all or summary",
        "readout": "unembedding (the model's own logits) or embedding (the notebook's)",
        "precision": "highest, high or bfloat16",
        "token": "the studied token",
        "token_id": "its id",
        "layer": "the neuron's layer",
        "index": "the neuron's number in its layer",
        "n_tokens": "tokens of the corpus",
        "occurrences": "how often the token stands in the corpus",
        "top_predictions": "how often it is the top prediction",
        "best_threshold": "the threshold with the largest F1",
        "best_precision": "its precision",
        "best_recall": "its recall",
        "best_f1": "its F1",
        "thresholds": "which thresholds were compared: every activation, or bin edges",
        "largest": "the largest activation",
    },
)
PREDICTIONS = Schema(
    "activations/{association}_predictions.csv",
    "what the model predicts at each strength of the neuron",
    {
        "activation_above": Field("row", "float32", "", "the octave's lower edge"),
        "activation_up_to": Field("row", "float32", "", "the octave's upper edge"),
        "prediction": Field("row", "text", "", "a top prediction, the most frequent first"),
        "tokens": Field("row", "int64", "tokens", "how often it is that in this octave"),
        "share": Field("row", "float32", "1", "as a share of the octave's tokens"),
    },
)
MOST_BARS = 32
MOST_PREDICTIONS = 5
NARROWEST = 2.0**-8


def describe_association(gathered: Path, name: str, tokenizer: "Tokenizer") -> tuple[Table, pd.DataFrame]:
    """Describe one association of a corpus pass.

    Returns
    -------
    tuple
        The table that `write_association` writes, and how often each token is predicted in each octave of activation:
        the columns of `PREDICTIONS`.
    """
    with recording(gathered, name) as recorded:
        summary, curve = recorded.summary, _curve(recorded)
        examples = places_with_texts(summary.places, recorded, tokenizer)
        edges, counts = display_bins(summary.count)
        datasets = {
            "bin_edge": edges,
            "bin_count": counts,
            **{key: getattr(curve.thinned(), key) for key in ("threshold", "precision", "recall")},
            **{f"example_{key}": values for key, values in examples.items()},
            **(_density(summary.count) if recorded.is_summary else {}),
        }
        attributes = {
            **recorded.attributes,
            **curve.at_best(),
            "thresholds": "bin edges" if recorded.is_summary else "every activation",
            "largest": _largest(summary),
        }
    return Table(gathered, datasets, attributes), _predictions(summary.prediction_count, tokenizer)


def write_association(path: Path, described: Table, attributes: Mapping[str, Any]) -> None:
    """Write activations/{association}.h5."""
    hdf5.write(path, DESCRIPTION, described.datasets, {**described.attributes, **attributes})


def display_bins(count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Join bins of positive activation to at most `MOST_BARS` of equal width, a power of two.

    Parameters
    ----------
    count
        Of a summary, [activation bin, margin bin].

    Returns
    -------
    tuple of numpy.ndarray
        Edges [bin + 1] and counts [bin, is top prediction].
    """
    upper = np.minimum(ACTIVATION_EDGES[2:], ACTIVATION_EDGES[-2])
    by_top = np.stack([count[1:, :FIRST_TOP].sum(1), count[1:, FIRST_TOP:].sum(1)], axis=1)
    filled = by_top.sum(1) > 0
    largest = upper[filled].max() if filled.any() else NARROWEST
    width = max(NARROWEST, 2.0 ** np.ceil(np.log2(largest / MOST_BARS)))
    bars = np.ceil(upper[filled] / width).astype(int) - 1
    counts = np.zeros((int(np.ceil(largest / width)), 2), np.int64)
    np.add.at(counts, bars, by_top[filled])
    return width * np.arange(len(counts) + 1), counts


def _curve(recorded: Recording) -> Curve:
    if recorded.is_summary:
        return _binned_curve(recorded.summary)
    return curve_of_values(recorded.activation, recorded.margin > 0)


def _binned_curve(summary: Summary) -> Curve:
    hits, totals = summary.count[1:, FIRST_TOP:].sum(1), summary.count[1:].sum(1)
    filled = totals > 0
    return curve_of_counts(
        ACTIVATION_EDGES[2:][filled], hits[filled], totals[filled], int(summary.count[:, FIRST_TOP:].sum())
    )


def _density(count: np.ndarray) -> dict[str, np.ndarray]:
    """Return the bins of positive activation from the first to the last that hold something."""
    positive = count[1:]
    rows, columns = (np.flatnonzero(positive.sum(axis)) for axis in (1, 0))
    if not len(rows):
        nothing = np.array([0, 1])
        return {"density": np.zeros((1, 1), np.int64), "activation_edge": nothing, "margin_edge": nothing}
    return {
        "density": positive[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1],
        "activation_edge": _finite(ACTIVATION_EDGES[1:])[rows[0] : rows[-1] + 2],
        "margin_edge": _finite(MARGIN_EDGES)[columns[0] : columns[-1] + 2],
    }


def _finite(edges: np.ndarray) -> np.ndarray:
    """Return edges with the infinite ones at twice their neighbour."""
    return np.nan_to_num(edges, posinf=2 * edges[-2], neginf=2 * edges[1])


def _largest(summary: Summary) -> float:
    return float(summary.places.activation[0]) if len(summary.places.activation) else np.nan


def _predictions(count: np.ndarray, tokenizer: "Tokenizer") -> pd.DataFrame:
    """Return the most frequent top predictions of each octave of positive activation."""
    rows: list[tuple[float, float, str, int, float]] = []
    for low, high, tokens in zip(OCTAVE_EDGES[1:-1], OCTAVE_EDGES[2:], count[1:], strict=True):
        order: Sequence[int] = np.argsort(-tokens, kind="stable")[:MOST_PREDICTIONS].tolist()
        total = tokens.sum()
        rows += [
            (low, high, tokenizer.text(token), int(tokens[token]), round(tokens[token] / total, 6))
            for token in order
            if tokens[token]
        ]
    return pd.DataFrame(rows, columns=list(PREDICTIONS.fields))
