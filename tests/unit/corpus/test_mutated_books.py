"""Machines that damage books: each gives a text that can be written, or a sentence says what is wrong with the book.

Half as many are tried as FUZZ_EXAMPLES says: 100 where it is not set, and then the same ones every time.
"""

import os
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from an_neuron.corpus.boilerplate import without_boilerplate
from an_neuron.corpus.text import extract_text
from an_neuron.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
HTML = (ROOT / "resources" / "orchard" / "book.html").read_bytes()[:3000]
START, END = ("*** START OF THE PROJECT GUTENBERG EBOOK PEARS ***", "*** END OF THE PROJECT GUTENBERG EBOOK")
PLAIN = f"{START}\n\nAn äpple.\r\n\n{END}".encode()
BOOKS = [HTML, PLAIN, b"<p>An apple &amp; a pear.", HTML.decode().encode("utf-16"), b"\xef\xbb\xbf" + PLAIN]
ASKED = int(os.environ.get("FUZZ_EXAMPLES", 0))
DEEP = 3000
PIECES = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.sampled_from([b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xe9", b"\x1b", b"\r", b" " * 500, "é本🙂".encode()]),
    st.sampled_from(
        [b"<!--", b"-->", b"<![CDATA[", b"<![n a", b"<?", b"<a b='", b"</", b"<", b">", b"&#xd800;", b"&#"]
    ),
    st.sampled_from([b"<meta charset=utf-7>+2AA-", b"<meta charset=\xff>", b"<meta charset=utf-16>", b"<script>"]),
    st.sampled_from([b"<div>" * DEEP, b"</div>" * DEEP, b"<table><tr><td>" * DEEP, b"<noscript>a" * (DEEP // 10)]),
)


@st.composite
def damaged_books(draw):
    """Return a book's bytes with one to four damages."""
    content = draw(st.sampled_from(BOOKS))
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        how = draw(st.sampled_from(["cut", "drop", "double", "insert", "insert"]))
        if how == "cut":
            content = content[:end]
        elif how == "drop":
            content = content[:start] + content[end:]
        elif how == "double":
            content = content[:end] + content[start:]
        else:
            content = content[:start] + draw(PIECES) + content[start:]
    return content


@settings(
    max_examples=ASKED // 2 or 100, deadline=None, derandomize=not ASKED, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(damaged_books(), st.sampled_from(["book.html", "book.txt"]))
@example(b"<meta charset=utf-7><p>+2AA- apple", "book.html")
@example(b"<p>a&#xd800;b", "book.html")
@example("<p>\ud800".encode("utf-16-le", "surrogatepass"), "book.html")
@example(b"<p>\xed\xa0\x80", "book.txt")
@example(b"<div>" * 2 * DEEP + b"an apple", "book.html")
def test_a_damaged_book_gives_a_text_or_a_sentence(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    try:
        text = extract_text(path)
        assert text.strip()
        assert "\r" not in text
        assert text.encode().decode() == text
        assert without_boilerplate(text, path) in text
    except UserError as error:
        said = str(error)
        assert said.startswith(f"The book {path} "), said
        assert "\n" not in said
        assert len(said) < 500
