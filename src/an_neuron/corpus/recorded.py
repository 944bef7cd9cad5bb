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
    "logit_difference": Field(
        "row pos", "float32", "logits", "logit(answer) - logit(foil); the answer is the first token", optional=True
    ),
    "expected": Field(
        "row pos", "float32", "1", "p(answer) + p(foil), of the readout's softmax over the vocabulary", optional=True
    ),
}
"""With `keep: all`, every value; with `keep: summary` none, answer and foil are not compared then."""
PASS_ATTRIBUTES = {
    "keep": "all or summary",
    "readout": "unembedding (the model's own logits) or embedding (the notebook's)",
    "precision": "highest, high or bfloat16",
    "signed": "1 where negative activations write as positive ones do (gated MLPs), else 0",
    "foil_id": "the foil's token id; -1 where it is not compared with the answer",
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
    logit_difference
        logit(answer) - logit(foil), [row, pos]; None where there is no foil.
    expected
        p(answer) + p(foil), [row, pos]: how far one of the two is expected; None where there is no foil.
    """

    activation: np.ndarray
    margin: np.ndarray
    top_prediction: np.ndarray
    logit_difference: np.ndarray | None = None
    expected: np.ndarray | None = None


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
    foil
        Id of the token that the first association's is compared with, where every value is kept; None if with none.
    """

    keep: str
    dtype: str
    signed: bool
    foil: int | None = None


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
