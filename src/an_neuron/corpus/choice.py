"""The choice between answer and foil, where one of them is to be expected: activations/choice.h5.

Many models rarely have " an" as their top prediction of the whole vocabulary, so a margin over all tokens says little
of a neuron that decides between " an" and " a". Both are compared where p(answer) + p(foil) > `LEAST_EXPECTED`.

With `keep: summary` at most `choice_places.MOST_PLACES` of these places are held, drawn evenly, and looked at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from an_neuron.corpus.choice_places import COLUMNS, LEAST_EXPECTED, ChoicePlaces, read_choice_places
from an_neuron.corpus.documents import Documents
from an_neuron.corpus.gathering import GATHERED
from an_neuron.corpus.intervals import N_RESAMPLES, Estimate, correlations, wilson_interval
from an_neuron.corpus.recorded import PASS_ATTRIBUTES
from an_neuron.errors import DamagedFileError
from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table, loaded
from an_neuron.files.schema import Field, Schema

QUANTILES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""Of the activation, between which bins lie."""
OTHER, ANSWER, FOIL = 0, 1, 2
ROWS_AT_ONCE = 512
"""Rows of tokens in memory, however long the corpus: 4 MB of 2,048 tokens each."""
CHOICE = Schema(
    "activations/choice.h5",
    "the studied neuron, and the choice between answer and foil where one of them is to be expected",
    {
        "row": Field("position", "int32", "", "row of the corpus"),
        "pos": Field("position", "int32", "", "position in the row"),
        "activation": Field("position", "float32", "", "the neuron's activation"),
        "logit_difference": Field("position", "float32", "logits", "logit(answer) - logit(foil)"),
        "expected": Field("position", "float32", "1", "p(answer) + p(foil)"),
        "next": Field(
            "position", "int32", "", "the token that really follows: 1 = the answer, 2 = the foil, 0 = another"
        ),
        "edge": Field("edge", "float32", "", "of the activation's bins; descending if the direction is below"),
        "count": Field("bin", "int64", "tokens", "positions between this edge and the next, which is in the bin"),
        "mean_p_answer": Field("bin", "float32", "1", "mean of p(answer) / (p(answer) + p(foil)) there"),
        "answers": Field("bin", "int64", "tokens", "positions there that the answer really follows"),
        "answers_or_foils": Field(
            "bin", "int64", "tokens", "positions there that the answer or the foil really follows"
        ),
        "share_low": Field("bin", "float32", "1", "lower end of the share's 95 % Wilson interval"),
        "share_high": Field("bin", "float32", "1", "its upper end"),
    },
    {
        **PASS_ATTRIBUTES,
        "token": "the answer",
        "token_id": "its id",
        "foil": "the foil",
        "layer": "the neuron's layer",
        "index": "the neuron's number in its layer",
        "least_expected": "what p(answer) + p(foil) is above at these positions",
        "n_positions": "how many there are",
        "n_held": "at how many of them this file looks: all, or with `keep: summary` at most so many, evenly drawn",
        "n_rows": "in how many rows of the corpus",
        "direction": "below where bins go from the highest activation to the lowest: of signed neurons with a negative "
        "Spearman correlation; else above",
        "n_resamples": "bootstrap resamples",
        "resampled": "what is drawn in them: document (rows that begin in the same one), or row",
        "pearson": "correlation of activation and logit difference",
        "pearson_low": "lower end of its 95 % interval",
        "pearson_high": "upper end",
        "spearman": "that of their ranks",
        "spearman_low": "lower end of its 95 % interval",
        "spearman_high": "upper end",
    },
)


def describe_choice(gathered: Path) -> Table:
    """Describe the choice between the answer, the first association's token, and the foil.

    Parameters
    ----------
    gathered
        activations/associations.h5.

    Returns
    -------
    Table
        What `write_choice` writes.

    Raises
    ------
    DamagedFileError
        If the pass did not compare answer and foil.
    """
    with hdf5.opened(gathered, GATHERED) as file:
        if int(file.attrs["foil_id"]) < 0:
            raise DamagedFileError(gathered, "does not compare answer and foil")
        places = read_choice_places(file) if "choice_total" in file else _choice_places(file)
        documents = Documents.of_file(file)
        positions, attributes = _positions(file, places, documents), _origin(file)
        resampled, group = documents.groups(len(file["token_id"]))
    estimates = correlations(positions["activation"], positions["logit_difference"], group[positions["row"]])
    turned = attributes["signed"] and estimates["spearman"].value < 0
    attributes |= {
        "least_expected": LEAST_EXPECTED,
        "n_positions": places.total,
        "n_held": len(places.row),
        "n_rows": len(np.unique(positions["row"])),
        "direction": "below" if turned else "above",
        "n_resamples": N_RESAMPLES,
        "resampled": resampled,
        **_named(estimates),
    }
    return Table(gathered, {**positions, **_bins(positions, -1 if turned else 1)}, attributes)


def write_choice(path: Path, described: Table, attributes: Mapping[str, Any]) -> None:
    """Write activations/choice.h5."""
    hdf5.write(path, CHOICE, described.datasets, {**described.attributes, **attributes})


def next_tokens(
    token_id: h5py.Dataset | np.ndarray, row: np.ndarray, pos: np.ndarray, goes_on: np.ndarray
) -> np.ndarray:
    """Return the token that follows at each place, [place]; after a row's last comes the next row's second, after BOS.

    Parameters
    ----------
    token_id
        Tokens of the corpus, [row, pos]; of a file, some rows are read at a time.
    row, pos
        The places, [place].
    goes_on
        Whether the text of each row goes on in the next one, [row]. After the last token of a row whose text does not
        comes none, -1.
    """
    is_last = pos == token_id.shape[1] - 1
    next_row, next_pos = row + is_last, np.where(is_last, 1, pos + 1)
    block = np.where(is_last & ~goes_on[row], -1, next_row // ROWS_AT_ONCE)
    following = np.full(len(row), -1, token_id.dtype)
    for number in np.unique(block[block >= 0]).tolist():
        chosen, first = block == number, number * ROWS_AT_ONCE
        rows = token_id[first : first + ROWS_AT_ONCE]
        following[chosen] = rows[next_row[chosen] - first, next_pos[chosen]]
    return following


def _choice_places(file: h5py.File) -> ChoicePlaces:
    """Return all positions where answer or foil is to be expected, of a file with every value."""
    expected = file["expected"][...].astype(np.float32)
    row, pos = np.nonzero(expected > LEAST_EXPECTED)
    activation, difference = file["activation"][0], file["logit_difference"][...]
    values = (values[row, pos].astype(np.float32) for values in (activation, difference, expected))
    return ChoicePlaces(len(row), row, pos, *values)


def _positions(file: h5py.File, places: ChoicePlaces, documents: Documents) -> dict[str, np.ndarray]:
    """Return what there is at each of these positions."""
    token_id = file["token_id"]
    answer, foil = int(file["association_token_id"][0]), int(file.attrs["foil_id"])
    following = next_tokens(token_id, places.row, places.pos, documents.continued(len(token_id)))
    kinds = np.where(following == answer, ANSWER, np.where(following == foil, FOIL, OTHER))
    return {**{name: getattr(places, name) for name in COLUMNS}, "next": kinds}


def _origin(file: h5py.File) -> dict[str, Any]:
    """Return what the file says of its pass, the neuron, the answer and the foil."""
    names = {"token_id": "association_token_id", "layer": "association_layer", "index": "association_index"}
    return {
        **{name: file.attrs[name] for name in PASS_ATTRIBUTES},
        **{name: int(file[field][0]) for name, field in names.items()},
        "token": loaded(file["association_token"])[0],
        "foil": loaded(file["vocabulary"])[int(file.attrs["foil_id"])],
    }


def _named(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    named: dict[str, float] = {}
    for name, estimate in estimates.items():
        named |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return named


def _bins(positions: Mapping[str, np.ndarray], sign: int) -> dict[str, np.ndarray]:
    """Return edges between quantiles of sign * activation, and what is in each bin."""
    values, n_bins = sign * positions["activation"].astype(float), len(QUANTILES) - 1
    edges = np.quantile(values, QUANTILES) if len(values) else np.full(n_bins + 1, np.nan)
    which = np.searchsorted(edges[1:-1], values, side="left")
    kind, p_answer = positions["next"], np.exp(-np.logaddexp(0.0, -positions["logit_difference"].astype(float)))
    count, answers, both = (
        np.bincount(which[kept], minlength=n_bins) for kept in (kind >= 0, kind == ANSWER, kind > 0)
    )
    low, high = wilson_interval(answers, both)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(which, p_answer, minlength=n_bins) / count
    return {
        "edge": sign * edges,
        "count": count,
        "mean_p_answer": mean,
        "answers": answers,
        "answers_or_foils": both,
        "share_low": low,
        "share_high": high,
    }
