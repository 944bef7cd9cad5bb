"""What a corpus pass records: in memory, and as fields of its files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from an_neuron.corpus.associations import Association, names_of
from an_neuron.files.hdf5 import Writer
from an_neuron.files.schema import Field

ASSOCIATION_FIELDS = {
    "association_name": Field("association", "text", "", "name of the association's files"),
    "association_token": Field(
        "association", "text", "", "the studied token; of a group its tokens, with slashes between them"
    ),
    "association_token_id": Field("association", "int32", "token id", "its id; of a group that of its first token"),
    "association_further_ids": Field(
        "association further",
        "int32",
        "token id",
        "of groups the ids of the other tokens, then -1; where there are groups",
        optional=True,
    ),
    "association_layer": Field("association", "int32", "", "the neuron's layer"),
    "association_index": Field("association", "int32", "", "the neuron's number in its layer"),
}
COUNT_FIELDS = {
    "occurrences": Field(
        "association",
        "int64",
        "tokens",
        "how often the token, or one of the group, stands in the corpus, BOS positions left out",
    ),
    "top_predictions": Field("association", "int64", "tokens", "how often the token is the top prediction"),
}
VALUE_FIELDS = {
    "activation": Field("association row pos", "float32", "", "the neuron's activation (hook_post)", optional=True),
    "margin": Field(
        "token row pos",
        "float32",
        "logits",
        "logit(token) - largest other logit, of each different token (of a group the largest logit in it - the largest "
        "outside); positive = top prediction",
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
"""With `keep: all`, every value; with `keep: summary` none."""
PASS_ATTRIBUTES = {
    "keep": "all or summary",
    "readout": "unembedding (the model's own logits) or embedding (the notebook's)",
    "precision": "highest, high or bfloat16",
    "signed": "1 where negative activations write as positive ones do (gated MLPs), else 0",
    "foil_id": "the foil's token id; -1 where it is not compared with the answer",
}
"""What the files of a corpus pass say of it."""
NO_TOKEN = -1
"""Fills up the ids of a group that is smaller than others."""
WHOLE_NUMBERS = {"shuffle": True, "compression": "gzip", "compression_opts": 1}


@dataclass(frozen=True)
class Recorded:
    """What a model does at each token of successive rows.

    Attributes
    ----------
    activation
        Each association's neuron's activation (`hook_post`), [association, row, pos].
    margin
        logit(token) - the largest other logit, of each studied token or group (of a group the largest in it - the
        largest outside), [token, row, pos]; positive = the token, or one of the group, is the top prediction.
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
        Id of the token that the first association's is compared with; None if with none.
    """

    keep: str
    dtype: str
    signed: bool
    foil: int | None = None


def token_places(token_ids: Sequence[tuple[int, ...]]) -> list[int]:
    """Return where on the tokens' axis, which has each different token or group once, each association's is."""
    different = list(dict.fromkeys(token_ids))
    return [different.index(ids) for ids in token_ids]


def add_associations(writer: Writer, associations: Sequence[Association]) -> None:
    """Add the fields that say what was recorded."""
    writer.add("association_name", names_of(associations))
    for name in ("token", "token_id", "layer", "index"):
        writer.add(f"association_{name}", [getattr(association, name) for association in associations])
    if longest := max(len(association.further_ids) for association in associations):
        further = [list(one.further_ids) + [NO_TOKEN] * (longest - len(one.further_ids)) for one in associations]
        writer.add("association_further_ids", further)


def stored_token_ids(file: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Return the ids of each association's token or group, of what `add_associations` wrote to a file."""
    first = file["association_token_id"][:][:, None]
    further = file["association_further_ids"][:] if "association_further_ids" in file else first[:, :0]
    return [tuple(token for token in ids if token != NO_TOKEN) for ids in np.hstack([first, further]).tolist()]


def add_counts(writer: Writer, counts: Mapping[str, np.ndarray]) -> None:
    """Add how often each token occurs, and is the top prediction."""
    for name in COUNT_FIELDS:
        writer.add(name, counts[name])
