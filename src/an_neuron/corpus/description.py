"""What a corpus shows of one association: activations/{association}.h5, and the predictions at each strength of the neuron."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from an_neuron.corpus import recordings
from an_neuron.corpus.summaries import ACTIVATION_EDGES, FIRST_TOP, MARGIN_EDGES, OCTAVE_EDGES, Places, Summary
from an_neuron.corpus.thresholds import Curve, curve_of_counts, curve_of_values
from an_neuron.files import old_hdf5 as hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.old_hdf5 import Dataset
from an_neuron.model.tokenizer import Tokenizer

MOST_BARS = 32
BEFORE, AFTER = 24, 8
"""Tokens of context before and after a place."""
MOST_PREDICTIONS = 5
NARROWEST = 2.0**-8


def describe_association(gathered: Path, name: str, tokenizer: Tokenizer) -> tuple[Table, pd.DataFrame]:
    """Describe one association of a corpus pass.

    Returns
    -------
    tuple
        The table that `write_association` writes, and how often each token is predicted in each octave of activation: the
        columns activation_above, activation_up_to, prediction, tokens, share.
    """
    summary = recordings.read_summary(gathered, name)
    with hdf5.opened(gathered) as file:
        attributes = recordings.association_attributes(file, recordings.association_number(file, name))
        places = _examples(summary.places, file["token_id"], tokenizer)
    kept = attributes["keep"] == "summary"
    curve = _binned_curve(summary) if kept else _exact_curve(recordings.read_association(gathered, name))
    edges, counts = display_bins(summary.count)
    datasets = {
        "bin_edge": edges,
        "bin_count": counts,
        **{key: getattr(curve.thinned(), key) for key in ("threshold", "precision", "recall")},
        **places,
    }
    if kept:
        datasets |= _density(summary.count)
    own = {**curve.at_best(), "thresholds": "bin edges" if kept else "every activation", "largest": _largest(summary)}
    return Table(gathered, datasets, {**attributes, **own}), _predictions(summary.prediction_count, tokenizer)


def write_association(path: Path, described: Table, attributes: Mapping[str, Any]) -> None:
    """Write activations/{association}.h5.

    ==================  ============================  =======  ==================================================
    dataset             dims                          dtype    content
    ==================  ============================  =======  ==================================================
    bin_edge            edge                          float32  bins of positive activation, of equal width
    bin_count           bin, is_top                   int64    tokens in (edge, next edge] whose top prediction
                                                               is not, and is, the studied token
    threshold           threshold                     float32  t of "activation > t", ascending
    precision, recall   threshold                     float32  of it as a predictor of the top prediction
    example_…           context                                the most activating places: activation, margin, row,
                                                               pos; texts before, token, after, next (the token
                                                               that follows), prediction (the model's)
    density             activation_bin, margin_bin    int64    with `keep: summary`: tokens in these bins, with
                                                               activation_edge and margin_edge
    ==================  ============================  =======  ==================================================

    The root attributes say what was recorded, and best_threshold, best_precision, best_recall and best_f1.
    """
    texts = {
        "bin_edge": (("edge",), "", "bins of positive activation, of equal width"),
        "bin_count": (("bin", "is_top"), "tokens", "tokens in (edge, next edge], by whether the token is on top"),
        "threshold": (("threshold",), "", "t of 'activation > t'"),
        "precision": (("threshold",), "", "of it as a predictor that the token is the top prediction"),
        "recall": (("threshold",), "", "of it as a predictor that the token is the top prediction"),
        "density": (("activation_bin", "margin_bin"), "tokens", "tokens in these bins"),
        "activation_edge": (("activation_edge",), "", "edges of the activation's bins"),
        "margin_edge": (("margin_edge",), "logits", "edges of the margin's bins"),
    }
    datasets = {}
    for name, values in described.datasets.items():
        dims, unit, text = texts.get(name, (("example",), "", f"the most activating places: {name[8:]}"))
        datasets[name] = Dataset(values, dims, unit, text, wide=name in ("bin_count", "density"))
    hdf5.write(path, datasets, {**described.attributes, **attributes})


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


def _exact_curve(table: Table) -> Curve:
    return curve_of_values(table["activation"], table["margin"] > 0)


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
        return {
            "density": np.zeros((1, 1), np.int64),
            "activation_edge": np.array([0, 1]),
            "margin_edge": np.array([0, 1]),
        }
    a, m = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    edges = [
        np.nan_to_num(edges, posinf=2 * edges[-2], neginf=2 * edges[1])
        for edges in (ACTIVATION_EDGES[1:], MARGIN_EDGES)
    ]
    return {
        "density": positive[a, m],
        "activation_edge": edges[0][a.start : a.stop + 1],
        "margin_edge": edges[1][m.start : m.stop + 1],
    }


def _largest(summary: Summary) -> float:
    return float(summary.places.activation[0]) if len(summary.places.activation) else np.nan


def _examples(places: Places, ids: h5py.Dataset, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return the places with the texts around them."""
    around = [
        _texts(ids, row, pos, tokenizer) for row, pos in zip(places.row.tolist(), places.pos.tolist(), strict=True)
    ]
    texts = {name: [some[name] for some in around] for name in ("before", "token", "after", "next")}
    numbers = {name: getattr(places, name) for name in ("activation", "margin", "row", "pos")}
    texts["prediction"] = tokenizer.texts(places.top_prediction.tolist())
    columns = {**numbers, **{name: np.array(values, dtype=object) for name, values in texts.items()}}
    return {f"example_{name}": values for name, values in columns.items()}


def _texts(ids: h5py.Dataset, row: int, pos: int, tokenizer: Tokenizer) -> dict[str, str]:
    own = ids[row].tolist()
    following = own[pos + 1 :] or (ids[row + 1, 1:].tolist() if row + 1 < len(ids) else [])
    return {
        "before": tokenizer.join(own[max(0, pos - BEFORE) : pos]),
        "token": tokenizer.text(own[pos]),
        "after": tokenizer.join(following[:AFTER]),
        "next": tokenizer.text(following[0]) if following else "",
    }


def _predictions(count: np.ndarray, tokenizer: Tokenizer) -> pd.DataFrame:
    """Return the most frequent top predictions of each octave of positive activation."""
    rows: list[tuple[float, float, str, int, float]] = []
    for octave in range(1, len(count)):
        order: Sequence[int] = np.argsort(-count[octave], kind="stable")[:MOST_PREDICTIONS].tolist()
        low, high, total = OCTAVE_EDGES[octave], OCTAVE_EDGES[octave + 1], count[octave].sum()
        rows += [
            (low, high, tokenizer.text(token), int(count[octave, token]), round(count[octave, token] / total, 6))
            for token in order
            if count[octave, token]
        ]
    return pd.DataFrame(rows, columns=["activation_above", "activation_up_to", "prediction", "tokens", "share"])
