"""Which of the model's clearest associations a corpus can show: the token occurs in it, and the neuron fires there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.congruence.exclusive import mutually_exclusive
from an_neuron.corpus.candidate_files import ABSENT, SILENT, TAKEN
from an_neuron.corpus.corpus_pass import read_rows
from an_neuron.corpus.rows import spread_rows
from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.model.decoder import Decoder
from an_neuron.model.hooks import Hook, hooked, rows_apart

BLOCK_ROWS = 4096
"""Of a corpus that are counted at once."""


@dataclass(frozen=True)
class Ranges:
    """The lowest and the largest activation of every neuron at some tokens, BOS left out.

    Attributes
    ----------
    least, most
        [layer, d_mlp].
    signed
        Whether negative activations write as positive ones do, as in gated MLPs.
    n_tokens
        At how many tokens.
    """

    least: np.ndarray
    most: np.ndarray
    signed: bool
    n_tokens: int

    def fires(self, layer: int, index: int) -> bool:
        """Return whether a neuron fires: is above 0 somewhere, or, where neurons are signed, not 0 everywhere."""
        return bool(self.most[layer, index] > 0 or (self.signed and self.least[layer, index] < 0))


class RangeReader:
    """A model made ready to read rows of a corpus for the range of each neuron's activation, in float32.

    Parameters
    ----------
    bridge
        A raw bridge.

    Attributes
    ----------
    device, d_vocab
        Where it runs, and the size of its vocabulary.
    signed
        Whether negative activations write as positive ones do.
    """

    def __init__(self, bridge: TransformerBridge) -> None:
        self._decoder = Decoder(bridge, "sdpa")
        self.device, self.d_vocab, self.signed = self._decoder.device, self._decoder.d_vocab, self._decoder.gated

    @torch.inference_mode()
    def read(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Run rows of token ids, [row, pos]; return the lowest and the largest activation, [layer, d_mlp, row, 1]."""
        seen: dict[int, tuple[Tensor, Tensor]] = {}

        def take(layer: int, activation: Tensor) -> None:
            seen[layer] = torch.aminmax(activation[:, 1:].float(), dim=1)

        layers = range(self._decoder.n_layers)
        hooks: list[Hook] = [
            (self._decoder.module(layer, "post"), "in", rows_apart(partial(take, layer), len(ids))) for layer in layers
        ]
        with hooked(hooks):
            self._decoder.model.base_model(input_ids=ids, use_cache=False)
        least, most = (torch.stack([seen[layer][end] for layer in layers]) for end in (0, 1))
        return least.mT[..., None], most.mT[..., None]


def measure_ranges(reader: RangeReader, rows: np.ndarray) -> Ranges:
    """Return the range of every neuron's activation at rows of a corpus, [row, pos], BOS first.

    Raises
    ------
    UserError
        If a token id is not in the vocabulary, or not even a row fits the device.
    """
    ends = [
        (least.min(axis=(-2, -1)), most.max(axis=(-2, -1)))
        for _, (least, most) in read_rows(reader, rows, what="sample")
    ]
    least, most = (np.stack(each) for each in zip(*ends, strict=True))
    return Ranges(least.min(0), most.max(0), reader.signed, rows.shape[0] * (rows.shape[1] - 1))


def occurrences(rows: Any, d_vocab: int) -> np.ndarray:
    """Return how often each token stands in rows of a corpus, [d_vocab]; BOS before each row does not count.

    Parameters
    ----------
    rows
        Token ids, [row, pos]: an array or an open HDF5 dataset, of which a block is read at a time.
    d_vocab
        Size of the vocabulary.
    """
    counts = np.zeros(d_vocab, dtype=np.int64)
    for first in range(0, len(rows), BLOCK_ROWS):
        counts += np.bincount(rows[first : first + BLOCK_ROWS, 1:].ravel(), minlength=d_vocab)
    return counts


def judge_candidates(
    top_neurons: Table, top_tokens: Table, counts: Sequence[int] | np.ndarray, ranges: Ranges, number: int
) -> pd.DataFrame:
    """Take the clearest associations that the corpus can show, and say why clearer ones were passed over.

    Parameters
    ----------
    top_neurons, top_tokens
        As for `mutually_exclusive`.
    counts
        How often each token occurs, [d_vocab].
    ranges
        Of every neuron's activation.
    number
        How many to take; there are fewer where the model has not as many.

    Returns
    -------
    pandas.DataFrame
        The columns of `CANDIDATES`: all that were looked at, the clearest first, and none after the last one taken.
    """
    texts, rows, taken = top_neurons["token"], [], 0
    for token, layer, index in mutually_exclusive(top_neurons, top_tokens, len(texts)):
        if taken == number:
            break
        verdict = ABSENT if not counts[token] else TAKEN if ranges.fires(layer, index) else SILENT
        taken += verdict == TAKEN
        ends = float(ranges.least[layer, index]), float(ranges.most[layer, index])
        rows.append([str(texts[token]), token, layer, index, int(counts[token]), *ends, verdict])
    columns = ["token", "token_id", "layer", "index", "occurrences", "least", "most", "verdict"]
    return pd.DataFrame(rows, columns=columns)


def sampled_rows(path: str | Path, d_vocab: int) -> tuple[np.ndarray, np.ndarray]:
    """Read corpus/tokens.h5: how often each token stands in it, [d_vocab], and rows spread over it, [row, pos]."""
    with hdf5.opened(path) as file:
        return occurrences(file["token_id"], d_vocab), spread_rows(file["token_id"])
