"""The texts around places of a corpus."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from an_neuron.corpus.documents import Documents
from an_neuron.corpus.recordings import Recording
from an_neuron.corpus.summaries import Places

if TYPE_CHECKING:
    from an_neuron.model.tokenizer import Tokenizer

BEFORE, AFTER = 24, 8
"""Tokens of context before and after a place."""
TEXTS = ("before", "token", "after", "next")


def places_with_texts(places: Places, recorded: Recording, tokenizer: "Tokenizer") -> dict[str, Any]:
    """Return what is at each place: activation, margin, top prediction, the texts before and after it, its document."""
    documents = Documents.of_file(recorded.file)
    goes_on = documents.continued(len(recorded.file["token_id"]))
    rows = recorded.token_rows([row + offset for row in places.row.tolist() for offset in (0, 1)])
    where = zip(places.row.tolist(), places.pos.tolist(), strict=True)
    around = [_texts(rows, row, pos, goes_on[row], tokenizer) for row, pos in where]
    columns: dict[str, Any] = {name: getattr(places, name) for name in ("activation", "margin", "row", "pos")}
    columns |= {name: np.array([texts[name] for texts in around], dtype=object) for name in TEXTS}
    columns["prediction"] = np.array(tokenizer.texts(places.top_prediction.tolist()), dtype=object)
    columns["document"] = np.array(documents.names(places.row, places.pos), dtype=object)
    return columns


def _texts(rows: Mapping[int, list[int]], row: int, pos: int, goes_on: bool, tokenizer: "Tokenizer") -> dict[str, str]:
    """Return the texts around a place; `goes_on` says whether its row's text does so in the next row."""
    tokens = rows[row]
    following = tokens[pos + 1 :] or (rows.get(row + 1, [])[1:] if goes_on else [])  # without the next row's BOS
    return {
        "before": tokenizer.join(tokens[max(0, pos - BEFORE) : pos]),
        "token": tokenizer.text(tokens[pos]),
        "after": tokenizer.join(following[:AFTER]),
        "next": tokenizer.text(following[0]) if following else "",
    }
