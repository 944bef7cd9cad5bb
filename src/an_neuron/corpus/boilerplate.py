"""Cut off what Project Gutenberg put around a book: its header, its credits and its licence.

A book begins after the last of these before its end: `*** START OF THE PROJECT GUTENBERG EBOOK … ***` (also "THIS",
"ETEXT", "COPYRIGHTED", without the spaces, or wrapped over lines) and, in books of the 1990s, the end of the small
print, `*END*THE SMALL PRINT! …*END*`. Paragraphs of credits directly after it ("Produced by …") are cut too.

It ends before `*** END OF THE PROJECT GUTENBERG EBOOK … ***` and the line "End of the Project Gutenberg EBook of …"
that stands directly before that; in books without the former, before the last such line.
"""

import re
from pathlib import Path

from an_neuron.errors import UserError

_OF_GUTENBERG = r"\s+OF\s+(?:THE|THIS)(?:\s+IS\s+A)?(?:\s+COPYRIGHTED)?\s+PROJECT\s+GUTENBERG\b"
# A marker ends with its own closing, in the same paragraph, or where it has none with its line.
_PARAGRAPH = r"(?:(?!\n\s*\n).){0,500}?"
_START = re.compile(rf"\*{{3}}\s*START{_OF_GUTENBERG}(?:{_PARAGRAPH}\*{{3}}|[^\n]*)", re.IGNORECASE | re.DOTALL)
_END = re.compile(rf"\*{{3}}\s*END{_OF_GUTENBERG}", re.IGNORECASE)
_SMALL_PRINT = re.compile(
    rf"\*\s*END\s*\**\s*THE\s+SMALL\s+PRINT\b(?:{_PARAGRAPH}\*\s*END\s*\*+|[^\n]*)", re.IGNORECASE | re.DOTALL
)
# "Gutenberg" alone does not end a book: what follows it makes the line the library's.
_LAST_LINE = re.compile(
    r"^[ \t*]*(?:(?:The\s+)?End\s+of(?:\s+(?:the|this|a))?|Ende\s+(?:dieses|diese|des)|Fin\s+d[eu])"
    r"\s+Proje[ck]t\s+Gutenberg(?:['’]s\b|\s+(?:E-?text|E-?book|edition|file)\w*)",
    re.IGNORECASE | re.MULTILINE,
)
_MADE = r"(?:produced|prepared|created|transcribed|scanned|typed|digiti[sz]ed|proofread|proofed|converted)"
_WHAT = r"(?:E-?text|E-?book|HTML|text)(?:\s+(?:file|version))?"
_CREDITS = re.compile(
    rf"\[?(?:(?:(?:This|The)\s+)?(?:Project\s+Gutenberg\s+)?(?:{_WHAT}\s+)?(?:was\s+)?"
    rf"{_MADE}(?:\s+and\s+{_MADE})?\s+(?:by|from)|{_WHAT}\s+by|Note:\s+Project\s+Gutenberg)\b"
    rf"(?:{_PARAGRAPH}(?=\n\s*\n|\Z)|[^\n]*)",
    re.IGNORECASE | re.DOTALL,
)
_REMEDY = "keep its boilerplate, or cut the file yourself."
_SETTING = "corpus: {boilerplate: keep}"


def without_boilerplate(text: str, path: Path) -> str:
    """Return what stands between Project Gutenberg's markers, without white space around it.

    Where only one of the two markers is there, only its side is cut. What is recognised is said in the module's
    docstring; transcribers' notes belong to the edition and stay.

    Parameters
    ----------
    text
        The text of one book, as `an_neuron.corpus.text.extract_text` returns it.
    path
        The book's file, for messages.

    Returns
    -------
    str
        The book, never blank.

    Raises
    ------
    UserError
        If the text has no marker, more than one book, or nothing between its markers.
    """
    end = _END.search(text)
    if end and _START.search(text, end.end()):
        raise UserError(f"The book {path} holds several books of Project Gutenberg; {_REMEDY}", _SETTING)
    last = _last_place(text, end.start() if end else None)
    starts = [match.end() for marker in (_START, _SMALL_PRINT) for match in marker.finditer(text, 0, last)]
    if not starts and last == len(text):
        raise UserError(
            f"The book {path} has no marker of Project Gutenberg, such as '*** START OF THE PROJECT GUTENBERG EBOOK' "
            f"or '*** END OF THE PROJECT GUTENBERG EBOOK'; {_REMEDY}",
            _SETTING,
        )
    book = text[max(starts, default=0) : last]
    book = _without_credits(book) if starts else book.strip()
    if not book:
        raise UserError(f"The book {path} has nothing between Project Gutenberg's markers; {_REMEDY}", _SETTING)
    return book


def _last_place(text: str, marker: int | None) -> int:
    """Return where a book ends: at its last line, which must be directly before the end marker where there is one."""
    before = text[:marker]
    lines = [match.start() for match in _LAST_LINE.finditer(before)]
    if lines and (marker is None or not re.search(r"\n\s*\n", before[lines[-1] :].rstrip())):
        return lines[-1]
    return len(before)


def _without_credits(book: str) -> str:
    book = book.strip()
    while made := _CREDITS.match(book):
        book = book[made.end() :].strip()
    return book
