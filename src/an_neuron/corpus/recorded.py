"""What a corpus pass records: in memory, and as fields of its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from an_neuron.corpus.associations import Association, names_of
from an_neuron.files.hdf5 import Writer
from an_neuron.files.schema import Field

ASSOCIATION_FIELDS = {
    "association_name": Field("association", "text", "", "name of the association's files"),
    "association_token": Field("association", "text", "", "the studied token"),
    "association_token_id": Field("association", "int32", "token id", "its id"),
    "association_layer": Field("association", "int32", "", "the neuron's layer"),
    "association_index": Field("association", "int32", "", "the neuron's number in its layer"),
}
COUNT_FIELDS = {
    "occurrences": Field(
        "association", "int64", "tokens", "how often the token stands in the corpus, BOS positions left out"
    ),
    "top_predictions": Field("association", "int64", "tokens", "how often the token is the top prediction"),
}
VALUE_FIELDS = {
    "activation": Field("association row pos", "float32", "", "the neuron's activation (hook_post)", optional=True),
    "margin": Field(
        "token row pos",
        "float32",
        "logits",
        "logit(token) - largest other logit, of each different token; positive = top prediction",
        optional=True,
    ),
    "top_prediction": Field("row pos", "int32", "token id", "most likely next token", optional=True),
}
"""With `keep: all`, every value."""
PASS_ATTRIBUTES = {
    "keep": "all or summary",
    "readout": "unembedding (the model's own logits) or embedding (the notebook's)",
    "precision": "highest, high or bfloat16",
    "signed": "1 where negative activations write as positive ones do (gated MLPs), else 0",
}
"""What the files of a corpus pass say of it."""
WHOLE_NUMBERS = {"shuffle": True, "compression": "gzip", "compression_opts": 1}


@dataclass(frozen=True)
class Recorded:
    """What a model does at each token of successive rows.

    Attributes
    ----------
    activation
        Each association's neuron's activation (`hook_post`), [association, row, pos].
    margin
        logit(token) - the largest other logit, of each studied token, [token, row, pos]; positive = the token is the
        top prediction.
    top_prediction
        Id of the most likely next token, [row, pos].
    """

    activation: np.ndarray
    margin: np.ndarray
    top_prediction: np.ndarray


@dataclass(frozen=True)
class Kept:
    """What is kept of a corpus pass.

    Attributes
    ----------
    keep
        "all" (every value) or "summary".
    dtype
        How activations and margins are stored: float32, or float16, which rounds them to 11 significant bits (0.05 %)
        and cannot hold what is beyond 65,504.
    signed
        Whether negative activations write as positive ones do, as in gated MLPs: summaries then hold both sides.
    """

    keep: str
    dtype: str
    signed: bool


def token_places(token_ids: Sequence[int]) -> list[int]:
    """Return where on the tokens' axis, which has each different token once, each association's token is."""
    different = list(dict.fromkeys(token_ids))
    return [different.index(token) for token in token_ids]


def add_associations(writer: Writer, associations: Sequence[Association]) -> None:
    """Add the fields that say what was recorded."""
    writer.add("association_name", names_of(associations))
    for name in ("token", "token_id", "layer", "index"):
        writer.add(f"association_{name}", [getattr(association, name) for association in associations])


def add_counts(writer: Writer, counts: Mapping[str, np.ndarray]) -> None:
    """Add how often each token occurs, and is the top prediction."""
    for name in COUNT_FIELDS:
        writer.add(name, counts[name])
