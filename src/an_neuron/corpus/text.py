"""Turn a book, HTML or plain text, into the text that is tokenized.

HTML or not is decided by content first. What begins like markup (a doctype, an XML declaration, a comment or a common
element, after white space) is HTML under any name. A name that says HTML is believed if a tag of a common element
stands in the first 4096 characters. Everything else is plain text and kept as it is, `<` and `&` included.

The encoding is the first of these that fits every byte: a byte-order mark's; for HTML, the charset that it declares;
UTF-8; Windows-1252 (a superset of Latin-1's printable characters); Latin-1, which fits anything. The last two are not
tried on what is damaged UTF-8, or declares another charset: every accent and quotation mark would come out wrong.
"""

import codecs
import re
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.dammit import EncodingDetector
from bs4.exceptions import ParserRejectedMarkup

from an_neuron.errors import UserError

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

# What a declared charset means on the web (WHATWG Encoding Standard), as Python's codecs.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}

# (offset, bytes there, what such a file is), after the formats' specifications.
_SIGNATURES = [
    (0, b"%PDF-", "a PDF"),
    (30, b"mimetypeapplication/epub+zip", "an EPUB"),
    (0, b"PK\x03\x04", "a ZIP archive (EPUB, DOCX and ODT are such)"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (4, b"1AY&SY", "a bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF87a", "a GIF image"),
    (0, b"GIF89a", "a GIF image"),
    (8, b"WEBP", "a WebP image"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (0, b"AT&TFORM", "a DjVu book"),
    (60, b"BOOKMOBI", "a Kindle book"),
    (0, b"\xd0\xcf\x11\xe0", "an old Word document"),
    (0, b"{\\rtf", "an RTF document"),
]


def extract_text(path: Path) -> str:
    r"""Return the text of a book with ``\n`` for every line end, otherwise with its white space.

    HTML is parsed and joined as in the notebook "We Found An Neuron" (``BeautifulSoup(…, "html.parser").get_text()``),
    so that the published study sees the same tokens: bs4 shortens what is only white space between two tags to one
    line end or space, and ``get_text`` leaves out style, script, comments and doctype. Title, noscript and template
    are dropped as well.

    Parameters
    ----------
    path
        An HTML or plain text file. The module's docstring says how HTML and the encoding are recognised.

    Returns
    -------
    str
        The text, never blank.

    Raises
    ------
    UserError
        If the file is missing, a folder, unreadable, empty, binary (PDF, EPUB, archive, image, ...), no HTML that a
        parser can follow, or holds no text.
    """
    path = Path(path)
    data = _read(path)
    _refuse_binary(path, data)
    is_html_name = path.suffix.lower() in _HTML_SUFFIXES
    text = _with_plain_newlines(_decode(path, data, is_html_name))
    if "\0" in text:
        raise _unusable(path, "holds NUL characters, so it looks like a binary file")
    if _is_html(text, is_html_name):
        text = _html_text(path, text)
    if not text.strip():
        raise _unusable(path, "holds no text")
    return text


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise UserError(f"The book {path} is a folder; name the HTML or text file in it.")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UserError(f"The book {path} does not exist; correct the path under corpus in config.yaml.") from error
    except OSError as error:
        raise UserError(f"The book {path} cannot be read ({error.strerror or error}); make it readable.") from error
    if not data:
        raise _unusable(path, "is empty")
    return data


def _refuse_binary(path: Path, data: bytes) -> None:
    for offset, signature, kind in _SIGNATURES:
        if data.startswith(signature, offset):
            raise _unusable(path, f"looks like {kind}")


def _decode(path: Path, data: bytes, is_html_name: bool) -> str:
    """Decode strictly, by the first encoding that fits.

    bs4's own guess (UnicodeDammit) is not asked: it tries charset_normalizer or chardet, where one is installed, before
    UTF-8, so that the text of a book would depend on the environment.
    """
    data, marked = EncodingDetector.strip_byte_order_mark(data)
    stated = marked or _declared(data, is_html_name) or "utf-8"
    # Valid UTF-8 is no accident, so it also stands behind a wrong declaration, but not behind a wrong byte-order mark.
    for encoding in [stated] if marked else [stated, "utf-8"]:
        try:
            return data.decode(encoding)
        except UnicodeError:
            continue
    if marked or stated not in {"utf-8", "cp1252"}:
        raise _unusable(path, f"says that it is in {stated}, but some of its bytes are not")
    _refuse_damaged_utf8(path, data)
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _declared(data: bytes, is_html_name: bool) -> str | None:
    """Return the codec that HTML declares, None where it declares none or one that it cannot be in."""
    # The tags that matter here are ASCII, so any superset of ASCII shows them.
    if not _is_html(data[:_HEAD].decode("latin-1"), is_html_name):
        return None
    try:
        name = codecs.lookup(EncodingDetector.find_declared_encoding(data, is_html=True) or "").name
        # A tag found byte by byte is not in UTF-16, whatever it says; rot13 and the like are no text encodings at all.
        return _SUPERSETS.get(name, name) if "<".encode(name) == b"<" else None
    except (LookupError, ValueError):
        return None


def _refuse_damaged_utf8(path: Path, data: bytes) -> None:
    """Refuse bytes that are UTF-8 here and there not; chance makes few valid sequences of Windows-1252 accents."""
    text = data.decode("utf-8", errors="replace")
    # Damaged places are among the characters counted: more than twice as many means that most are sound.
    damaged = text.count("\N{REPLACEMENT CHARACTER}")
    if len(re.findall(r"[^\x00-\x7f]", text)) > 2 * damaged:
        raise _unusable(path, f"looks like UTF-8 with {damaged} damaged place{'s' if damaged > 1 else ''}")


def _with_plain_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


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
