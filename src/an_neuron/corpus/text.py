"""Turn a book, HTML or plain text, into the text that is tokenized.

HTML or not is decided by content first. What begins like markup (a doctype, an XML declaration, a comment or a common
element, after white space) is HTML under any name. A name that says HTML is believed if a tag of a common element
stands in the first 4096 characters. Everything else is plain text and kept as it is, `<` and `&` included.

The encoding is a byte-order mark's; else the one that the caller gives; else, for HTML, the charset that it declares;
else UTF-8. Nothing is guessed: bytes that are not in that encoding are refused.
"""

import re
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.dammit import EncodingDetector
from bs4.exceptions import ParserRejectedMarkup

from an_neuron.corpus.charsets import charset
from an_neuron.corpus.sources import unpacked_name
from an_neuron.errors import UserError
from an_neuron.files.schema import Schema
from an_neuron.files.texts import is_whole

TEXT = Schema("corpus/text.txt", "the book's text, UTF-8, with a line feed for every line end")
_HTML_SUFFIXES = {".html", ".htm", ".xhtml", ".xht"}
# Title, style and the rest are no part of what a reader sees as the book.
_UNREAD = ["title", "style", "script", "noscript", "template"]
_HEAD = 4096
_ELEMENTS = (
    "html|head|title|meta|link|style|script|body|main|section|article|header|nav|div|span|p|h[1-6]|pre|br|hr|center"
    "|font|a|b|i|em|strong|table|ul|ol|blockquote|img"
)
_TAG = re.compile(rf"</?(?:{_ELEMENTS})(?:\s[^<>]*|/)?>", re.IGNORECASE)
_BEGINNING = re.compile(rf"\s*(?:<!doctype\s|<\?xml\s|<!--|{_TAG.pattern})", re.IGNORECASE)
# On the web Latin-1 and ASCII mean Windows-1252, which has their printable characters (WHATWG Encoding Standard).
_ON_THE_WEB = {"iso8859-1": "cp1252", "ascii": "cp1252"}
# No text has these; a page break (form feed) and the end mark of DOS (0x1a) it may have.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_OF_PROGRAMS = ("%PDF-", "%!PS", "{\\rtf")  # are or may be characters alone, yet no text that anybody reads


def extract_text(path: Path, encoding: str | None = None) -> str:
    r"""Return the text of a book with ``\n`` for every line end, otherwise with its white space.

    HTML is parsed and joined as in the notebook "We Found An Neuron" (``BeautifulSoup(…, "html.parser").get_text()``),
    so that the published study sees the same tokens: bs4 shortens what is only white space between two tags to one
    line end or space, and ``get_text`` leaves out style, script, comments and doctype. Title, noscript and template
    are dropped as well.

    Parameters
    ----------
    path
        An HTML or plain text file. The module's docstring says how HTML and the encoding are recognised.
    encoding
        A name that Python knows, such as cp1252; needed where a book neither declares its encoding nor is UTF-8.

    Returns
    -------
    str
        The text, never blank.

    Raises
    ------
    UserError
        If the file is missing, a folder, unreadable, empty, binary (PDF, EPUB, archive, image, ...), not in its
        encoding, no HTML that a parser can follow, or holds no text.
    """
    path = Path(path)
    return text_of(path, _read(path), encoding)


def text_of(path: Path, data: bytes, encoding: str | None = None) -> str:
    """Return the text of a file's bytes, as `extract_text` does; a name's `.gz` or `.zst` is of its packing."""
    is_html_name = Path(unpacked_name(path.name)).suffix in _HTML_SUFFIXES
    text = _decoded(path, data, encoding, is_html_name).replace("\r\n", "\n").replace("\r", "\n")
    if _CONTROL.search(text):
        raise _unusable(path, "holds control characters, so it looks like a binary file")
    if text.startswith(_OF_PROGRAMS):
        raise _unusable(path, "looks like a PDF, PostScript or RTF document")
    if _is_html(text, is_html_name):
        text = _html_text(path, text)
    if not is_whole(text):  # only UTF-7 lets halves through
        raise _unusable(path, "holds halves of characters (surrogates)")
    if not text.strip():
        raise _unusable(path, "holds no text")
    return text


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"The book {path} is a folder; name the HTML or text file in it.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"The book {path} does not exist.", "corpus: {file: PATH}") from error
    except OSError as error:
        raise UserError(f"The book {path} cannot be read ({error.strerror or error}); make it readable.") from error
    if not data:
        raise _unusable(path, "is empty")
    return data


def _decoded(path: Path, data: bytes, encoding: str | None, is_html_name: bool) -> str:
    data, marked = EncodingDetector.strip_byte_order_mark(data)
    # bs4's own guess (UnicodeDammit) would depend on which detectors are installed.
    name = marked or encoding or _declared(data, is_html_name) or "utf-8"
    if not marked and b"\0" in data[:_HEAD] and not name.lower().startswith(("utf-16", "utf_16", "utf-32", "utf_32")):
        raise _unusable(path, "holds NUL bytes, so it looks like a binary file")
    try:
        if charset(name) is None:
            raise LookupError(name)
        return data.decode(name)
    except (LookupError, UnicodeError) as error:
        known = "is not in" if isinstance(error, UnicodeError) else "cannot be read: there is no text encoding"
        raise UserError(
            f"The book {path} {known} {name}; if it is a text and no binary file, give its encoding.",
            "corpus: {encoding: cp1252}",
        ) from error


def _declared(data: bytes, is_html_name: bool) -> str | None:
    """Return the codec that HTML declares, if it declares one."""
    # The tags that matter here are ASCII, so any superset of ASCII shows them.
    if not _is_html(data[:_HEAD].decode("latin-1"), is_html_name):
        return None
    declared = EncodingDetector.find_declared_encoding(data, is_html=True)
    if declared is None or re.match(r"utf-?(16|32)", declared, re.IGNORECASE):
        return None  # a tag that was read byte by byte is not in UTF-16, whatever it says
    name = charset(declared)
    return str(declared) if name is None else _ON_THE_WEB.get(name, name)


def _is_html(text: str, is_html_name: bool) -> bool:
    """Apply the rule of the module's docstring."""
    head = text[:_HEAD]
    return bool(_BEGINNING.match(head) or (is_html_name and _TAG.search(head)))


def _html_text(path: Path, markup: str) -> str:
    try:
        soup = BeautifulSoup(markup, "html.parser")
    except ParserRejectedMarkup as error:
        raise _unusable(path, "holds markup that cannot be parsed") from error
    for element in soup(_UNREAD):
        element.decompose()
    return soup.get_text()


def _unusable(path: Path, reason: str) -> UserError:
    return UserError(f"The book {path} {reason}; give an HTML or plain text file (UTF-8 is safest).")
