"""Which names of encodings are those of a charset, in which a book can be written."""

import codecs

from an_neuron.errors import UserError

NO_CHARSETS = {"charmap", "idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
"""Python's names for what turns bytes into text, and is the encoding of no book: escapes, names of hosts, …"""


def charset(name: str) -> str | None:
    """Return Python's name of a charset; None if the name is no charset's."""
    try:
        codec = codecs.lookup(name)
    except (LookupError, ValueError):  # unknown, or no name at all
        return None
    found = codec.name.replace("_", "-")
    is_text = getattr(codec, "_is_text_encoding", True)  # rot13, zip and the like are none
    return codec.name if is_text and found not in NO_CHARSETS else None


def check_charset(name: str) -> None:
    """Refuse the name of what is no charset.

    Raises
    ------
    UserError
        If Python knows no charset of this name.
    """
    if charset(name) is None:
        raise UserError(f"there is no text encoding {name!r}; give one that Python knows, such as cp1252.")
