"""Which associations a study names: the studied one, and those that it lists."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from an_neuron.corpus.associations import Association
from an_neuron.model.tokenizer import single_token

if TYPE_CHECKING:
    from an_neuron.model.tokenizer import Tokenizer


def named_associations(
    tokenizer: "Tokenizer", answer: str, neuron: Mapping[str, int], listed: Iterable[Mapping[str, Any]]
) -> list[Association]:
    """Return the studied association, and those that a configuration lists, each with token, layer and index.

    Raises
    ------
    UserError
        If a text is not a single token.
    """
    studied = {"token": answer, **neuron}
    sources = [(studied, "studied"), *((entry, "listed") for entry in listed)]
    return [
        Association(entry["token"], single_token(tokenizer, entry["token"]), entry["layer"], entry["index"], source)
        for entry, source in sources
    ]
