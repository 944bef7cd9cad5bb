import gzip
import json
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from an_neuron.corpus import reading
from an_neuron.corpus.file_list import (
    Listed,
    Share,
    items_of,
    list_files,
    number_of_items,
    read_files,
    shares,
    text_bytes,
    write_files,
)
from an_neuron.corpus.reading import How, count_items, read_items
from an_neuron.corpus.sources import corpus_files, kind_of
from an_neuron.corpus.token_parts import DocumentReader
from an_neuron.errors import DamagedFileError, UserError

TEXTS = ["one", "zwei\nzeilen", "", "trois é\0"]


def zstd(content):
    with pa.BufferOutputStream() as sink:
        with pa.CompressedOutputStream(sink, "zstd") as stream:
            stream.write(content)
        return sink.getvalue().to_pybytes()


PACKED = {"": bytes, ".gz": gzip.compress, ".zst": zstd}


def lines(texts):
    return "".join(json.dumps({"text": text, "n": 1}) + "\n" for text in texts).encode()


def table(texts, **options):
    with pa.BufferOutputStream() as sink:
        pq.write_table(pa.table({"n": list(range(len(texts))), "text": texts}), sink, **options)
        return sink.getvalue().to_pybytes()


def texts_in(path, *bounds, **how):
    return [(item.line, item.text) for item in read_items(path, How(**how), *bounds)]


def mistakes_in(path, **how):
    return [(item.line, str(item.mistake)) for item in read_items(path, How(**how)) if item.mistake]


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize(("suffix", "written"), [(".jsonl", lines), (".json", lines), (".parquet", table)])
def test_lines_and_rows_are_documents(tmp_path, suffix, written, packed):
    path = tmp_path / f"a{suffix}{packed}"
    path.write_bytes(PACKED[packed](written(TEXTS)))
    whole = list(enumerate(TEXTS, start=1))
    assert count_items(path) == 4
    assert texts_in(path) == whole
    assert texts_in(path, 1, 3) == whole[1:3]
    assert texts_in(path, 3) == whole[3:]


@pytest.mark.parametrize("packed", PACKED)
@pytest.mark.parametrize("name", ["a.txt", "a.html", "A.HTM"])
def test_a_text_or_page_is_one_document(tmp_path, name, packed):
    path = tmp_path / f"{name}{packed}"
    path.write_bytes(PACKED[packed](b"<p>A pear.</p>\r\n<p>An apple.</p>"))
    assert count_items(path) == 1
    assert texts_in(path) == [(0, "A pear.\nAn apple.")]
    assert texts_in(path, 0, 1) == [(0, "A pear.\nAn apple.")]
    assert texts_in(path, 1, 1) == texts_in(path, 0, 0) == []


def test_rows_of_several_groups_are_taken_from_those_that_hold_them(tmp_path):
    texts = [str(number) for number in range(10)]
    path = tmp_path / "a.parquet"
    path.write_bytes(table(texts, row_group_size=3))
    whole = list(enumerate(texts, start=1))
    for first in range(11):
        for upto in range(first, 11):
            assert texts_in(path, first, upto) == whole[first:upto]


def test_blank_lines_are_no_documents_but_keep_their_numbers(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\n{"text": "b"}\n  \n{"text": "d"}')
    assert count_items(path) == 4
    assert texts_in(path) == [(2, "b"), (4, "d")]


def test_the_column_is_the_one_that_is_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "x", "text": "y"}\n')
    assert texts_in(path, column="body") == [(1, "x")]


def test_what_is_no_document_is_told_with_its_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"text": "a"}\n{"text"\n[1]\n{"text": 3}\n{}\n{"text": "\\ud800"}\n{"text": "\xff"}\n{"text": "z"}\n'
    )
    found = mistakes_in(path)
    assert [line for line, _ in found] == [2, 3, 4, 5, 6, 7]
    for (line, said), reason in zip(
        found,
        ["is no JSON (Expecting", "holds no JSON object", "has no text in 'text'", "has no text in 'text'",
         "holds half of a character", "is no JSON ('utf-8' codec"],
        strict=True,
    ):  # fmt: skip
        assert said.startswith(f"{path}, line {line}, {reason}")
    assert texts_in(path)[-1] == (8, "z")


def test_a_table_without_texts_has_no_documents(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(table(["a", None, "c"]))
    assert mistakes_in(path) == [(2, f"{path}, line 2, has no text in 'text'; mend it, or skip what is no document.")]
    assert [line for line, _ in mistakes_in(path, column="n")] == [1, 2, 3]
    assert [line for line, _ in mistakes_in(path, column="none")] == [1, 2, 3]


@pytest.mark.parametrize("packed", [".gz", ".zst"])
def test_a_file_that_breaks_off_ends_in_one_mistake(tmp_path, packed, monkeypatch):
    monkeypatch.setattr(reading, "BUFFER", 1 << 12)
    path = tmp_path / f"a.jsonl{packed}"
    texts = [f"{number} {number**5}" for number in range(20_000)]
    content = PACKED[packed](lines(texts))
    path.write_bytes(content[: len(content) // 2])
    *items, last = read_items(path, How())
    assert [item.text for item in items] == texts[: len(items)]
    assert 0 < len(items) < 20_000
    assert f"{path} cannot be read from line {len(items) + 1} on (Truncated" in str(last.mistake)
    assert count_items(path) == len(items) + 1


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.parquet", "a.parquet.gz", "a.txt", "a.html.zst"])
def test_a_file_that_is_none_of_its_kind_is_one_mistake(tmp_path, name):
    path = tmp_path / name
    for content in (b"\xff\xfegarbage\0\xff", None):
        path.write_bytes(content) if content else path.unlink()
        ((_, said),) = mistakes_in(path)
        assert str(path) in said
        assert count_items(path) == 1


def test_books_among_files_lose_their_boilerplate_where_asked(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(
        "*** START OF THE PROJECT GUTENBERG EBOOK A ***\n\nA pear.\n\n*** END OF THE PROJECT GUTENBERG EBOOK A ***\n"
    )
    assert texts_in(path, boilerplate="drop") == [(0, "A pear.")]
    (tmp_path / "b.txt").write_bytes("ä".encode("cp1252"))
    assert texts_in(tmp_path / "b.txt", encoding="cp1252") == [(0, "ä")]


def test_the_reader_stops_or_counts(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\nx\ny\n{"text": "d"}\n')
    reader = DocumentReader(((7, item) for item in read_items(path, How())), "skip")
    assert list(reader) == [(7, 1, "a"), (7, 4, "d")]
    assert reader.n_skipped == 2
    with pytest.raises(UserError, match="line 2, is no JSON") as caught:
        list(DocumentReader((0, item) for item in read_items(path, How())))
    assert caught.value.setting == "corpus: {on_bad_line: skip}"


def test_parts_share_all_items_evenly(tmp_path):
    listed = [Listed("a", 3), Listed("b", 0), Listed("c", 1), Listed("d", 7)]
    whole = [(number, item) for number, one in enumerate(listed) for item in range(one.items)]
    for n_parts in (2, 3, 11, 12, 30):
        parts = [shares(listed, part, n_parts) for part in range(n_parts)]
        assert [(one.file, item) for part in parts for one in part for item in range(one.first, one.upto)] == whole
        sizes = [number_of_items(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1
    assert shares([Listed("a", None), Listed("b", None)], 0, 1) == [Share(0, 0, None), Share(1, 0, None)]
    assert number_of_items([Share(0, 0, None)]) is None


def test_the_parts_of_files_read_what_one_reads(tmp_path):
    paths = [tmp_path / "a.jsonl", tmp_path / "b.txt", tmp_path / "c.parquet"]
    for path, content in zip(paths, (lines(TEXTS), b"b", table(TEXTS)), strict=True):
        path.write_bytes(content)
    listed = list_files([str(path) for path in paths], counted=True)
    assert [one.items for one in listed] == [4, 1, 4]
    whole = list(items_of(listed, shares(listed, 0, 1), How()))
    assert [item.text for _, item in whole] == [*TEXTS, "b", *TEXTS]
    for n_parts in (2, 5, 20):
        parts = [items_of(listed, shares(listed, part, n_parts), How()) for part in range(n_parts)]
        assert [item for part in parts for item in part] == whole


def test_the_list_of_files_comes_back(tmp_path):
    listed = list_files(["no such file"], counted=False)
    write_files(tmp_path / "files.json", listed)
    assert read_files(tmp_path / "files.json") == listed == [Listed("no such file", None)]
    for name, content in (("x", 3), ("y", [{"items": 1}])):
        from an_neuron.files.sealed import write_json

        write_json(tmp_path / name, content)
        with pytest.raises(DamagedFileError, match="lists no files"):
            read_files(tmp_path / name)


def test_patterns_mean_files_in_the_order_of_the_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b2.txt", "b1.txt", "a.jsonl", "b[1].txt", "x.pdf", "deep/c.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    assert corpus_files(["b?.txt", "a.jsonl"]) == ["b1.txt", "b2.txt", "a.jsonl"]
    assert corpus_files(["b[1].txt"]) == ["b[1].txt"], "a name that is there is no pattern"
    assert corpus_files(["**/c.txt"]) == ["deep/c.txt"]
    assert corpus_files([f"{tmp_path}/b[12].txt"]) == [f"{tmp_path}/b1.txt", f"{tmp_path}/b2.txt"]
    for patterns, said in (
        (["c*.txt"], r"there is no file 'c\*\.txt'"),
        (["."], r"there is no file '\.'"),
        (["deep"], "there is no file 'deep'"),
        (["/"], "there is no file '/'"),
        (["a" * 300], "there is no file 'aaa"),
        (["a\0*"], "there is no file"),
        (["x.pdf"], r"'x\.pdf' cannot be read; give files named \.txt"),
        (["b1.txt", "b?.txt"], r"'b1\.txt' is meant twice"),
    ):
        with pytest.raises(UserError, match=said):
            corpus_files(patterns)


def test_kinds_are_told_by_names():
    names = ["a.txt", "a.HTML.gz", "a.jsonl.zst", "a.json", "b.parquet", "c.csv", "gz", "a.gz"]
    assert [kind_of(name) for name in names] == ["whole", "whole", "lines", "lines", "table", None, None, None]
    assert all(one != other for one, other in pairwise(names))


def test_bytes_of_a_part_are_its_share_of_each_file(tmp_path):
    listed = []
    for name, items in (("a.txt", 2), ("b.txt", 4)):
        (tmp_path / name).write_bytes(b"x" * 100)
        listed.append(Listed(str(tmp_path / name), items))
    assert [text_bytes(listed, shares(listed, part, 2)) for part in (0, 1)] == [125, 75]
    uncounted = [Listed(one.path, None) for one in listed]
    assert text_bytes(uncounted, shares(uncounted, 0, 1)) == 200
