import codecs
import gzip
import io
import zipfile

import pytest
from bs4.exceptions import ParserRejectedMarkup

from an_neuron.corpus.text import extract_text
from an_neuron.errors import UserError

REMEDY = "; give an HTML or plain text file (UTF-8 is safest)."


@pytest.fixture
def read(tmp_path):
    def write_and_extract(content, name="book.html", encoding=None):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return extract_text(path, encoding)

    return write_and_extract


def refusal(path):
    with pytest.raises(UserError) as caught:
        extract_text(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("markup", "text"),
    [
        ("<p>one<p>two<b>three", "onetwothree"),
        ("<P>Up<BR>per</P><SCRIPT>a</SCRIPT><STYLE>b</STYLE>", "Upper"),
        ("<p>a &amp; b &lt;i&gt; &#8217;&#x2014;&#147;&eacute;</p>", "a & b <i> ’—“é"),
        ("<p>an&nbsp;apple &c. AT&T &nosuch; 1 < 2</p>", "an\N{NO-BREAK SPACE}apple &c. AT&T &nosuch 1 < 2"),
        ("<p>a</p><script>document.write('<p>b</p>')</script><p>c", "ac"),
        ("<div>a<style>p { color: red }</style>b</div>", "ab"),
        ("<p>a<!-- <p>hidden</p> -->b", "ab"),
        ("<p>a<noscript>Turn it <b>on</b></noscript>b<template><p>c</p><style>d</style></template>", "ab"),
        (
            "<html>\n<head>\n<title>The\nBook</title>\n</head>\n<body>\n\n  <p>an  olive</p>\n",
            "\n\n\n\n\nan  olive\n",
        ),
        ("<!DOCTYPE html>\n<html><body><p>a</p></body></html>", "\na"),
        (
            '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><p>é<br/>a</p></html>',
            "\néa",
        ),
        ("</b></p>a</i><table><td>b<tr>c</div>d", "abcd"),
        ("<p>a" + "<font>" * 5000 + "b", "ab"),
        ("\n\n <body>a</body>", "\na"),
        ("<pre>\n\n an\n</pre>  <p>  olive", "\n\n an\n   olive"),
        ("Chapter 1<br>an apple &amp; an olive", "Chapter 1an apple & an olive"),
        ("<p>a\r\nb\rc\r\n", "a\nb\nc\n"),
    ],
)
def test_html_becomes_its_text_and_nothing_else(read, markup, text):
    assert read(markup) == text


def test_the_content_of_a_cdata_section_survives(read):
    # Newer Pythons read it as a comment in HTML, as browsers do; its neighbours must not suffer.
    assert read("<p>a<![CDATA[ an & b ]]>c</p>") in {"a an & b c", "ac"}


@pytest.mark.parametrize(
    "content",
    [
        b"<meta charset=iso-8859-1><p>caf\xe9 \x93an\x94",
        b'<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=ISO-8859-1"><p>caf\xe9 \x93an\x94',
        b'<?xml version="1.0" encoding="windows-1252"?><html>caf\xe9 \x93an\x94',
        "<meta charset='utf-8'><p>café “an”".encode(),
        "<p>café “an”".encode(),
        "<meta charset=utf-16><p>café “an”".encode(),  # impossible: the tag was read byte by byte
        codecs.BOM_UTF8 + "<meta charset=iso-8859-1><p>café “an”".encode(),
        codecs.BOM_UTF16_LE + "<meta charset=iso-8859-1><p>café “an”".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "<p>café “an”".encode("utf-16-be"),
        codecs.BOM_UTF32_LE + "<p>café “an”".encode("utf-32-le"),
    ],
)
def test_html_in_any_encoding(read, content):
    assert read(content) == "café “an”"
    assert read(content, "book.txt") == "café “an”"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"An apple.\r\n\r\n  An olive.\r", "An apple.\n\n  An olive.\n"),
        ("café “an” 本".encode(), "café “an” 本"),
        (codecs.BOM_UTF8 + "café".encode(), "café"),
        (codecs.BOM_UTF16_LE + "café\r\n本".encode("utf-16-le"), "café\n本"),
        (b"1 < 2 &amp; so <on>, &c.", "1 < 2 &amp; so <on>, &c."),
    ],
)
def test_plain_text_is_kept_under_any_name(read, content, text):
    for name in ["book.txt", "book", "book.md", "book.html"]:
        assert read(content, name) == text


def test_a_tag_within_plain_text_is_text_unless_the_name_says_html(read):
    content = b"How to write <b>bold</b> <meta charset=big5> \xc3\xa9"
    assert read(content, "book.txt") == "How to write <b>bold</b> <meta charset=big5> é"
    assert read(b"How to write <b>bold</b>", "book.htm") == "How to write bold"


def test_the_name_of_an_html_file_may_be_in_capitals(read):
    assert read("one<br>two", "BOOK.HTM") == "onetwo"


def test_a_given_encoding_wins_over_a_declared_one_but_not_over_a_byte_order_mark(read):
    assert read("<meta charset=gb2312><p>镕".encode("gbk"), encoding="gb18030") == "镕"
    assert read("<meta charset=shift_jis><p>①本".encode("cp932"), encoding="cp932") == "①本"
    assert read(b"caf\xe9 \x93an\x94", "book.txt", "cp1252") == "café “an”"
    assert read(b"caf\xe9 \x81", "book.txt", "latin-1") == "café \x81"
    assert read("café".encode("utf-16-le"), "book.txt", "utf-16-le") == "café"
    assert read(codecs.BOM_UTF8 + "café".encode(), "book.txt", "cp1252") == "café"


@pytest.mark.parametrize(
    ("content", "encoding", "reason"),
    [
        (b"caf\xe9 na\xefve", None, "is not in utf-8"),
        (b"<p>caf\xe9", None, "is not in utf-8"),
        (b"<meta charset=utf-8><p>caf\xe9", None, "is not in utf-8"),
        (b"<meta charset=shift_jis><p>\x82", None, "is not in shift_jis"),
        (b"<meta charset=no-such-thing><p>a", None, "cannot be read: there is no text encoding no-such-thing"),
        (b"<meta charset=unicode_escape><p>\\x41", None, "cannot be read: there is no text encoding unicode_escape"),
        (b"<meta charset=idna><p>a", None, "cannot be read: there is no text encoding idna"),
        (b"<meta charset=hex><p>a", None, "cannot be read: there is no text encoding hex"),
        (b"a", "raw_unicode_escape", "cannot be read: there is no text encoding raw_unicode_escape"),
        (b"a", "charmap", "cannot be read: there is no text encoding charmap"),
        (b"<meta charset=rot13><p>a", None, "cannot be read: there is no text encoding rot"),
        (b"an apple", "no-such-thing", "cannot be read: there is no text encoding no-such-thing"),
        ("“an” apple’s ".encode() + b"\xe9 ", None, "is not in utf-8"),
        (codecs.BOM_UTF16_LE + b"a\0b\0c", None, "is not in utf-16le"),
        (codecs.BOM_UTF8 + b"caf\xe9", None, "is not in utf-8"),
        (b"\x89PNG\r\n\x1a\n", None, "is not in utf-8"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", None, "is not in utf-8"),
    ],
)
def test_what_is_not_in_its_encoding_is_refused_with_the_key_to_set(read, content, encoding, reason):
    with pytest.raises(UserError, match=reason) as caught:
        read(content, "book.html", encoding)
    assert str(caught.value).endswith("; if it is a text and no binary file, give its encoding.")
    assert caught.value.setting == "corpus: {encoding: cp1252}"


def archive(name, content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \r\n\t", "holds no text"),
        (b"<html><title>Title</title><script>a</script>&nbsp;</html>", "holds no text"),
        (codecs.BOM_UTF8, "holds no text"),
        (b"%PDF-1.7\nan apple", "looks like a PDF, PostScript or RTF document"),
        (b"{\\rtf1\\ansi an apple}", "looks like a PDF, PostScript or RTF document"),
        (archive("mimetype", "application/epub+zip"), "holds NUL bytes, so it looks like a binary file"),
        (archive("book.txt", "an apple"), "holds NUL bytes, so it looks like a binary file"),
        (gzip.compress(b"an apple", mtime=0), "holds NUL bytes, so it looks like a binary file"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "holds NUL bytes, so it looks like a binary file"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "holds NUL bytes, so it looks like a binary file"),
        (b"RIFF\x00\x01\x00\x00WEBPVP8 ", "holds NUL bytes, so it looks like a binary file"),
        (b"an apple\0an olive", "holds NUL bytes, so it looks like a binary file"),
        ("an apple".encode("utf-16-le"), "holds NUL bytes, so it looks like a binary file"),
        (b"an apple\x01an olive", "holds control characters, so it looks like a binary file"),
    ],
)
def test_what_holds_no_book_is_refused_in_a_sentence(tmp_path, content, reason):
    for name in ["book.txt", "book.html"]:
        path = tmp_path / name
        path.write_bytes(content)
        assert refusal(path) == f"The book {path} {reason}{REMEDY}"


def test_markup_that_the_parser_gives_up_on_is_refused(tmp_path, monkeypatch):
    # Which markup that is depends on the Python version.
    def reject(*_):
        raise ParserRejectedMarkup("unknown status keyword")

    monkeypatch.setattr("an_neuron.corpus.text.BeautifulSoup", reject)
    (tmp_path / "book.html").write_bytes(b"<p><![n a")
    assert "holds markup that cannot be parsed; " in refusal(tmp_path / "book.html")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    path = tmp_path / "book.txt"
    assert refusal(path) == f"The book {path} does not exist."
    assert refusal(tmp_path) == f"The book {tmp_path} is a folder; name the HTML or text file in it."
    (tmp_path / "file").touch()
    assert "cannot be read (Not a directory)" in refusal(tmp_path / "file" / "book.txt")
