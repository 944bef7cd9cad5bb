"""Texts that must be one token of a model."""

from typing import TYPE_CHECKING

from an_neuron.errors import UserError

if TYPE_CHECKING:
    from an_neuron.model.folder import Tokenizer


def single_token(tokenizer: "Tokenizer", text: str) -> int:
    """Return the id of a text that is one token.

    Raises
    ------
    UserError
        If the text is several tokens; the message shows them.
    """
    ids = tokenizer.encode(text)
    if len(ids) == 1:
        return ids[0]
    pieces = " + ".join(repr(piece) for piece in tokenizer.texts(ids))
    hint = "" if text.startswith(" ") else f' A missing leading space is the usual cause: write " {text}".'
    raise UserError(f"{text!r} is not a single token of this model but {len(ids)}: {pieces}.{hint}")
