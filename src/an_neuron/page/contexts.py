"""The text around a neuron's most activating places, token by token, each with the neuron's activation at it."""

from typing import Any

import numpy as np

from an_neuron.corpus.recordings import Recording
from an_neuron.corpus.surroundings import AFTER, BEFORE
from an_neuron.files.hdf5 import Table
from an_neuron.files.texts import printable
from an_neuron.page.values import rounded

Context = dict[str, Any]
"""context: a list of [text, activation], both as the page shows them; at: which of them is the place."""


def recorded_contexts(table: Table, recorded: Recording) -> list[Context]:
    """Return the tokens around each place of an association's table, within the place's row of the corpus.

    Parameters
    ----------
    table
        activations/{association}.h5.
    recorded
        The same association's, of a pass that kept every value.
    """
    rows, positions = table["example_row"].tolist(), table["example_pos"].tolist()
    tokens, vocabulary = recorded.token_rows(rows), recorded.file["vocabulary"].asstr()[()]
    return [
        _context(vocabulary[tokens[row]], recorded.activation[row], pos)
        for row, pos in zip(rows, positions, strict=True)
    ]


def _context(texts: np.ndarray, activation: np.ndarray, pos: int) -> Context:
    start = max(1, pos - BEFORE) if pos else 0  # a row begins with BOS
    around = slice(start, pos + 1 + AFTER)
    shown = [printable(text) for text in texts[around]]
    pairs = zip(shown, rounded(activation[around], 3), strict=True)
    return {"context": [list(pair) for pair in pairs], "at": pos - start}


def summarised_contexts(table: Table) -> list[Context]:
    """Return the same where a summary was kept: the activation is known at the place alone, None elsewhere."""
    texts = [[printable(text) for text in table[f"example_{name}"]] for name in ("before", "token", "after")]
    return [
        {"context": [[before, None], [token, value], [after, None]], "at": 1}
        for before, token, after, value in zip(*texts, rounded(table["example_activation"], 3), strict=True)
    ]
