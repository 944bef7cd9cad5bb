"""The texts around places of a corpus."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from an_neuron.corpus.recordings import Recording
from an_neuron.corpus.summaries import Places

if TYPE_CHECKING:
    from an_neuron.model.tokenizer import Tokenizer

BEFORE, AFTER = 24, 8
"""Tokens of context before and after a place."""
TEXTS = ("before", "token", "after", "next")


def places_with_texts(places: Places, recorded: Recording, tokenizer: "Tokenizer") -> dict[str, Any]:
    """Return activation, margin, row, pos and top prediction of each place, and the texts before, at and after it."""
    rows = recorded.token_rows([row + offset for row in places.row.tolist() for offset in (0, 1)])
    where = zip(places.row.tolist(), places.pos.tolist(), strict=True)
    around = [_texts(rows, row, pos, tokenizer) for row, pos in where]
    columns: dict[str, Any] = {name: getattr(places, name) for name in ("activation", "margin", "row", "pos")}
    columns |= {name: np.array([texts[name] for texts in around], dtype=object) for name in TEXTS}
    columns["prediction"] = np.array(tokenizer.texts(places.top_prediction.tolist()), dtype=object)
    return columns


def _texts(rows: Mapping[int, list[int]], row: int, pos: int, tokenizer: "Tokenizer") -> dict[str, str]:
    tokens = rows[row]
    following = tokens[pos + 1 :] or rows.get(row + 1, [])[1:]  # without the next row's BOS
    return {
        "before": tokenizer.join(tokens[max(0, pos - BEFORE) : pos]),
        "token": tokenizer.text(tokens[pos]),
        "after": tokenizer.join(following[:AFTER]),
        "next": tokenizer.text(following[0]) if following else "",
    }
