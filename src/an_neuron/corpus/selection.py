"""Which associations a study names: the studied one, and those that it lists."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from an_neuron.corpus.associations import Association
from an_neuron.files.texts import group_text
from an_neuron.model.tokenizer import single_token

if TYPE_CHECKING:
    from an_neuron.model.tokenizer import Tokenizer


def named_associations(
    tokenizer: "Tokenizer", answer: str, neuron: Mapping[str, int], listed: Iterable[Mapping[str, Any]]
) -> list[Association]:
    """Return the studied association, and those that a configuration lists, each with tokens, layer and index.

    Raises
    ------
    UserError
        If a text is not a single token.
    """
    sources = [({"tokens": [answer], **neuron}, "studied"), *((entry, "listed") for entry in listed)]
    return [_association(tokenizer, source=source, **entry) for entry, source in sources]


def _association(
    tokenizer: "Tokenizer", tokens: Sequence[str], layer: int, index: int, source: str, **_: Any
) -> Association:
    token_id, *further = (single_token(tokenizer, token) for token in tokens)
    return Association(group_text(tokens), token_id, layer, index, source, tuple(further))
