"""Which associations a study records: the studied one, those that it lists, and the clearest ones of the model."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from an_neuron.congruence.exclusive import mutually_exclusive
from an_neuron.corpus.associations import Association
from an_neuron.files.hdf5 import Table
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


def exclusive_associations(top_neurons: Table, top_tokens: Table, number: int) -> list[Association]:
    """Return the associations of mutually exclusive congruence, most distinctive first.

    Parameters
    ----------
    top_neurons, top_tokens, number
        As for `mutually_exclusive`.
    """
    matches = mutually_exclusive(top_neurons, top_tokens, number)
    texts = top_neurons["token"]
    return [Association(str(texts[token]), token, layer, index, "exclusive") for token, layer, index in matches]
