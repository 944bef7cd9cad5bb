"""Mutually exclusive congruence: the neurons that are cleanly associated with a token."""

import numpy as np

from an_neuron.files.hdf5 import Table


def mutually_exclusive(top_neurons: Table, top_tokens: Table, number: int) -> list[tuple[int, int, int]]:
    """Return mutual best matches of token and neuron, most distinctive first.

    How distinctive a match is: the product of two gaps, from the token's best neuron to its second, and from the
    neuron's best token to its second. Without a second, or with an equal one, a match is not distinctive and left out.
    Of equal products that of the lower token id comes first.

    Parameters
    ----------
    top_neurons, top_tokens
        congruence/top_neurons.h5 and congruence/top_tokens.h5, with at least two of each.
    number
        How many matches to return; there are fewer where the model has not as many.

    Returns
    -------
    list of tuple
        Token id, layer and index of each.
    """
    layer, index = top_neurons["layer"][:, 0], top_neurons["index"][:, 0]  # [d_vocab]
    mutual = top_tokens["token"][layer, index, 0] == np.arange(len(layer))
    product = _gap(top_neurons["value"]) * _gap(top_tokens["value"])[layer, index]
    distinctive = np.flatnonzero(mutual & (product > 0))
    best = distinctive[np.argsort(-product[distinctive], kind="stable")][:number]
    return [(int(token), int(layer[token]), int(index[token])) for token in best]


def _gap(values: np.ndarray) -> np.ndarray:
    """Return how far the best is above the second, [..., k] to [...]; NaN where that is not a positive number."""
    best, second = values[..., 0].astype(float), values[..., 1].astype(float)
    with np.errstate(invalid="ignore"):  # -inf, where there is no best, less -inf
        gap = best - second
    return np.where(np.isfinite(gap) & (gap > 0), gap, np.nan)
