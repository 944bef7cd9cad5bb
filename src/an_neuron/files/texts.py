"""How tokens and neurons are shown in text."""

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any

from an_neuron.errors import UserError

HALF = re.compile("[\ud800-\udfff]")
"""Half of a character, a surrogate, which no file can hold."""
MADE_VISIBLE = {"\n": "↵", "\t": "⇥"}


def neuron_name(layer: int, index: int) -> str:
    """Return how a neuron is called everywhere: layer.index."""
    return f"{layer}.{index}"


def parse_neuron(name: str) -> tuple[int, int]:
    """Return layer and index of a neuron called layer.index.

    Raises
    ------
    UserError
        If the name is none.
    """
    found = re.fullmatch(r"(\d+)\.(\d+)", name, re.ASCII)
    if not found:
        raise UserError(f'{name!r} is no neuron; write layer.index, "31.892".')
    return int(found[1]), int(found[2])


def printable(text: Any, length: int | None = None) -> str:
    """Return a text as it is, or its first letters, with line breaks and control characters visible; not escaped."""
    text = str(text)[:length]
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else MADE_VISIBLE.get(c, c.encode("unicode_escape").decode()) for c in text)


def visible(text: Any, length: int | None = None) -> str:
    """Return a text as plotly shows it letter by letter: no markup, line breaks and control characters visible."""
    return html.escape(printable(text, length), quote=False)


def is_whole(text: str) -> bool:
    """Say whether a text holds whole characters alone, no surrogates."""
    return not HALF.search(text)


def group_text(tokens: Iterable[str]) -> str:
    """Return how a group of tokens is called in text: its tokens, with a slash between them; a single one as it is."""
    return "/".join(tokens)


def spellings_of(words: Iterable[str], tokens: Iterable[str]) -> list[str]:
    """Return those tokens that are one of some words, whatever their case and the blanks around them."""
    plain = {word.strip().lower() for word in words}
    return [token for token in tokens if token.strip().lower() in plain]


def token_labels(tokens: Iterable[str]) -> list[str]:
    """Return tokens in quotes, long ones cut, so that labels stay short."""
    return [f"'{visible(token, 10)}'" for token in tokens]


def neuron_and_token(attributes: Mapping[str, Any]) -> tuple[str, str]:
    """Return how the figures of a (token, neuron) association call the neuron and the token."""
    return f"Layer {attributes['layer']} Neuron {attributes['index']}", visible(attributes["token"])
