"""Mutually exclusive congruence: the neurons that are cleanly associated with a token."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema

EXCLUSIVE = Schema(
    "congruence/exclusive.h5",
    "mutual best matches of token and neuron, most distinctive first",
    {
        "token": Field("match", "text", "", "the token"),
        "token_id": Field("match", "int32", "token id", "its id"),
        "layer": Field("match", "int32", "", "the neuron's layer"),
        "index": Field("match", "int32", "", "its number in the layer"),
        "token_gap": Field("match", "float32", "", "congruence of the token's best neuron - that of its second"),
        "neuron_gap": Field("match", "float32", "", "congruence of the neuron's best token - that of its second"),
        "product": Field("match", "float32", "", "product of both gaps, by which they are ranked"),
    },
)


@dataclass(frozen=True)
class Matches:
    """Mutual best matches of token and neuron, most distinctive first, each [match].

    Attributes
    ----------
    token_id, layer, index
        Token and neuron.
    token_gap
        From the token's best neuron to its second.
    neuron_gap
        From the neuron's best token to its second.
    """

    token_id: np.ndarray
    layer: np.ndarray
    index: np.ndarray
    token_gap: np.ndarray
    neuron_gap: np.ndarray

    @property
    def product(self) -> np.ndarray:
        """How distinctive each is."""
        return self.token_gap * self.neuron_gap


def ranked_matches(top_neurons: Table, top_tokens: Table) -> Matches:
    """Return mutual best matches of token and neuron, most distinctive first.

    How distinctive a match is: the product of two gaps, from the token's best neuron to its second, and from the
    neuron's best token to its second. Without a second, or with an equal one, a match is not distinctive and left out.
    Of equal products that of the lower token id comes first.

    Parameters
    ----------
    top_neurons, top_tokens
        congruence/top_neurons.h5 and congruence/top_tokens.h5, with at least two of each.
    """
    layer, index = top_neurons["layer"][:, 0], top_neurons["index"][:, 0]  # [d_vocab]
    mutual = top_tokens["token"][layer, index, 0] == np.arange(len(layer))
    gaps = _gap(top_neurons["value"]), _gap(top_tokens["value"])[layer, index]
    product = gaps[0] * gaps[1]
    distinctive = np.flatnonzero(mutual & (product > 0))
    best = distinctive[np.argsort(-product[distinctive], kind="stable")]
    return Matches(best, layer[best], index[best], *(gap[best] for gap in gaps))


def mutually_exclusive(top_neurons: Table, top_tokens: Table, number: int) -> list[tuple[int, int, int]]:
    """Return token id, layer and index of the most distinctive matches.

    Parameters
    ----------
    top_neurons, top_tokens
        As for `ranked_matches`.
    number
        How many matches to return; there are fewer where the model has not as many.
    """
    matches = ranked_matches(top_neurons, top_tokens)
    columns = (column[:number].tolist() for column in (matches.token_id, matches.layer, matches.index))
    return list(zip(*columns, strict=True))


def write_exclusive(path: str | Path, top_neurons: Table, top_tokens: Table, attributes: Mapping[str, Any]) -> None:
    """Write congruence/exclusive.h5; parameters as for `ranked_matches`."""
    matches = ranked_matches(top_neurons, top_tokens)
    texts = {"token": top_neurons["token"][matches.token_id], "product": matches.product}
    hdf5.write(path, EXCLUSIVE, {**vars(matches), **texts}, attributes)


def _gap(values: np.ndarray) -> np.ndarray:
    """Return how far the best is above the second, [..., k] to [...]; NaN where that is not a positive number."""
    best, second = values[..., 0].astype(float), values[..., 1].astype(float)
    with np.errstate(invalid="ignore"):  # -inf, where there is no best, less -inf
        gap = best - second
    return np.where(np.isfinite(gap) & (gap > 0), gap, np.nan)
