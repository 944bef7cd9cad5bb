"""What a corpus shows of one association: activations/{association}.h5 and its predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from an_neuron.corpus.recorded import PASS_ATTRIBUTES
from an_neuron.corpus.recordings import Recording, recording
from an_neuron.corpus.summaries import ACTIVATION_EDGES, FIRST_TOP, MARGIN_EDGES, OCTAVE_EDGES, Summary, above, below
from an_neuron.corpus.surroundings import places_with_texts
from an_neuron.corpus.thresholds import Curve, better_side, curve_of_counts, curve_of_values
from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema

if TYPE_CHECKING:
    from an_neuron.model.tokenizer import Tokenizer

DESCRIPTION = Schema(
    "activations/{association}.h5",
    "what the corpus shows of an association of a token and a neuron",
    {
        "bin_edge": Field(
            "edge", "float32", "", "edges of bins of positive activation (if signed, of either sign), of equal width"
        ),
        "bin_count": Field(
            "bin is_top",
            "int64",
            "tokens",
            "tokens in (edge, next edge], below 0 in [edge, next edge), by whether the token is the top prediction",
        ),
        "threshold": Field(
            "threshold",
            "float32",
            "",
            "t of 'activation > t', ascending from 0; of 'activation < t', descending, if the direction is below",
        ),
        "precision": Field("threshold", "float32", "", "of it as a predictor that the token is the top prediction"),
        "recall": Field("threshold", "float32", "", "of it as a predictor that the token is the top prediction"),
        "example_activation": Field(
            "example",
            "float32",
            "",
            "activation at the most activating places, best first; of signed neurons then at those of the lowest",
        ),
        "example_margin": Field("example", "float32", "logits", "the token's margin there"),
        "example_row": Field("example", "int32", "", "row of the corpus"),
        "example_pos": Field("example", "int32", "", "position in the row"),
        "example_before": Field("example", "text", "", "the text before the place"),
        "example_token": Field("example", "text", "", "the token at the place"),
        "example_after": Field("example", "text", "", "the text after it"),
        "example_next": Field("example", "text", "", "the token that follows in the text"),
        "example_prediction": Field("example", "text", "", "the model's top prediction"),
        "example_document": Field("example", "text", "", "the document: its file, and :line where it is a line or row"),
        "example_end": Field("example", "text", "", "of signed neurons: highest or lowest activations", optional=True),
        "density": Field(
            "activation_bin margin_bin", "int64", "tokens", "with `keep: summary`: tokens in these bins", optional=True
        ),
        "activation_edge": Field("activation_edge", "float32", "", "edges of the activation's bins", optional=True),
        "margin_edge": Field("margin_edge", "float32", "logits", "edges of the margin's bins", optional=True),
    },
    {
        **PASS_ATTRIBUTES,
        "token": "the studied token; of a group its tokens, with slashes between them",
        "token_id": "its id; of a group that of its first token",
        "layer": "the neuron's layer",
        "index": "the neuron's number in its layer",
        "n_tokens": "tokens of the corpus",
        "occurrences": "how often the token stands in the corpus",
        "top_predictions": "how often it is the top prediction",
        "direction": "above if 'activation > t' was compared with the top predictions, below if 'activation < t'",
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
        "activation_above": Field("row", "float32", "", "the octave's lower edge, which is in it if negative"),
        "activation_up_to": Field("row", "float32", "", "the octave's upper edge, which is in it if positive"),
        "prediction": Field("row", "text", "", "a top prediction, the most frequent first"),
        "tokens": Field("row", "int64", "tokens", "how often it is that in this octave"),
        "share": Field("row", "float32", "1", "as a share of the octave's tokens"),
    },
)
UPPER_EDGES = np.minimum(ACTIVATION_EDGES[2:], ACTIVATION_EDGES[-2])
"""Upper edges of the bins of positive activation, the last of which has none."""
HIGHEST, LOWEST = "highest", "lowest"
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
        summary, (direction, curve) = recorded.summary, _curve(recorded)
        examples = places_with_texts(summary.places.joined(summary.lowest), recorded, tokenizer)
        edges, counts = display_bins(summary.count, summary.signed)
        datasets = {
            "bin_edge": edges,
            "bin_count": counts,
            **{key: getattr(curve.thinned(), key) for key in ("threshold", "precision", "recall")},
            **{f"example_{key}": values for key, values in examples.items()},
            **(_ends(summary) if summary.signed else {}),
            **(_density(summary) if recorded.is_summary else {}),
        }
        attributes = {
            **recorded.attributes,
            "direction": direction,
            **curve.at_best(),
            "thresholds": "bin edges" if recorded.is_summary else "every activation",
            "largest": _largest(summary),
        }
    return Table(gathered, datasets, attributes), _predictions(summary, tokenizer)


def write_association(path: Path, described: Table, attributes: Mapping[str, Any]) -> None:
    """Write activations/{association}.h5."""
    hdf5.write(path, DESCRIPTION, described.datasets, {**described.attributes, **attributes})


def display_bins(count: np.ndarray, signed: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Join bins of positive activation, if signed of either sign, to about `MOST_BARS` of equal width, a power of two.

    Parameters
    ----------
    count
        Of a summary, [activation bin, margin bin].
    signed
        Whether it has bins of negative activation.

    Returns
    -------
    tuple of numpy.ndarray
        Edges [bin + 1] and counts [bin, is top prediction].
    """
    sides = [_by_top(above(count, ACTIVATION_EDGES))]
    if signed:
        sides.append(_by_top(below(count, ACTIVATION_EDGES)))
    reach = sum(UPPER_EDGES[by_top.sum(1) > 0].max(initial=0) for by_top in sides) or NARROWEST
    width = max(NARROWEST, 2.0 ** np.ceil(np.log2(reach / MOST_BARS)))
    positive, *negative = (_bars(by_top, width) for by_top in sides)
    n_below = sum(map(len, negative))
    if not n_below and not len(positive):
        positive = np.zeros((1, 2), np.int64)
    counts = np.concatenate([*(bars[::-1] for bars in negative), positive])
    return width * np.arange(-n_below, len(positive) + 1), counts


def _by_top(count: np.ndarray) -> np.ndarray:
    """Return counts by activation bin and whether the token is the top prediction."""
    return np.stack([count[:, :FIRST_TOP].sum(1), count[:, FIRST_TOP:].sum(1)], axis=1)


def _bars(by_top: np.ndarray, width: float) -> np.ndarray:
    """Join the bins of one side to bars of one width, from 0 to the last that holds something."""
    filled = by_top.sum(1) > 0
    bars = np.ceil(UPPER_EDGES[filled] / width).astype(int) - 1
    counts = np.zeros((bars.max(initial=-1) + 1, 2), np.int64)
    np.add.at(counts, bars, by_top[filled])
    return counts


def _curve(recorded: Recording) -> tuple[str, Curve]:
    """Return the direction in which the activation tells more of the top prediction, and its curve."""
    if recorded.is_summary:
        count, n_hits = recorded.summary.count, int(recorded.summary.count[:, FIRST_TOP:].sum())
        curves = (_binned_curve(side(count, ACTIVATION_EDGES), n_hits) for side in (above, below))
    else:
        hit = recorded.margin > 0
        curves = (curve_of_values(sign * recorded.activation, hit) for sign in (1, -1))
    return better_side(*curves) if recorded.signed else ("above", next(curves))


def _binned_curve(count: np.ndarray, n_hits: int) -> Curve:
    hits, totals = count[:, FIRST_TOP:].sum(1), count.sum(1)
    filled = totals > 0
    return curve_of_counts(ACTIVATION_EDGES[2:][filled], hits[filled], totals[filled], n_hits)


def _ends(summary: Summary) -> dict[str, np.ndarray]:
    """Return at which end of the activations each example is."""
    ends = [HIGHEST] * len(summary.places.row) + [LOWEST] * len(summary.lowest.row)
    return {"example_end": np.array(ends, dtype=object)}


def _density(summary: Summary) -> dict[str, np.ndarray]:
    """Return the bins of activation, other than 0, from the first to the last that hold something."""
    count, edges = above(summary.count, ACTIVATION_EDGES), _finite(ACTIVATION_EDGES[1:])
    if summary.signed:
        count = np.concatenate([below(summary.count, ACTIVATION_EDGES)[::-1], count])
        edges = np.concatenate([-edges[:0:-1], edges])
    rows, columns = (np.flatnonzero(count.sum(axis)) for axis in (1, 0))
    if not len(rows):
        nothing = np.array([0, 1])
        return {"density": np.zeros((1, 1), np.int64), "activation_edge": nothing, "margin_edge": nothing}
    return {
        "density": count[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1],
        "activation_edge": edges[rows[0] : rows[-1] + 2],
        "margin_edge": _finite(MARGIN_EDGES)[columns[0] : columns[-1] + 2],
    }


def _finite(edges: np.ndarray) -> np.ndarray:
    """Return edges with the infinite ones at twice their neighbour."""
    return np.nan_to_num(edges, posinf=2 * edges[-2], neginf=2 * edges[1])


def _largest(summary: Summary) -> float:
    return float(summary.places.activation[0]) if len(summary.places.activation) else np.nan


def _predictions(summary: Summary, tokenizer: "Tokenizer") -> pd.DataFrame:
    """Return the most frequent top predictions of each octave of positive activation, if signed of either sign."""
    count, low, high = above(summary.prediction_count, OCTAVE_EDGES), OCTAVE_EDGES[1:-1], OCTAVE_EDGES[2:]
    if summary.signed:
        count = np.concatenate([below(summary.prediction_count, OCTAVE_EDGES)[::-1], count])
        low, high = np.concatenate([-high[::-1], low]), np.concatenate([0.0 - low[::-1], high])
    rows: list[tuple[float, float, str, int, float]] = []
    for edge, next_edge, tokens in zip(low, high, count, strict=True):
        order: Sequence[int] = np.argsort(-tokens, kind="stable")[:MOST_PREDICTIONS].tolist()
        total = tokens.sum()
        rows += [
            (edge, next_edge, tokenizer.text(token), int(tokens[token]), round(tokens[token] / total, 6))
            for token in order
            if tokens[token]
        ]
    return pd.DataFrame(rows, columns=list(PREDICTIONS.fields))
