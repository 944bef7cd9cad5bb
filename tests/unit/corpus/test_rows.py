import h5py
import numpy as np
import pytest

from an_neuron.corpus.documents import DOCUMENTS, ROWS, Documents
from an_neuron.corpus.reading import Item
from an_neuron.corpus.rows import TOKENS, row_length
from an_neuron.corpus.token_parts import DocumentReader, Packing, write_part
from an_neuron.corpus.token_rows import gather_tokens, pieces
from an_neuron.errors import UserError
from an_neuron.files import hdf5
from an_neuron.model.folder import Shape

TEXTS = ["abcde", "", "fg", "hijklmnopqrst", "uv", "wxyz"]


def corpus(folder, tokenizer, texts, n_ctx=5, packing=ROWS, n_parts=1, limit=None, d_vocab=50):
    """Tokenize documents in so many parts, and gather them; return the table of tokens."""
    parts = []
    for part in range(n_parts):
        first, upto = (number * len(texts) // n_parts for number in (part, part + 1))
        parts.append(folder / "corpus" / "parts" / f"{part + 1}-of-{n_parts}.h5")
        reader = DocumentReader((0, Item(number + 1, texts[number])) for number in range(first, upto))
        write_part(parts[-1], reader, ["a.jsonl"], tokenizer, d_vocab, Packing(packing, n_ctx, limit), {})
    gather_tokens(folder / "corpus" / "tokens.h5", parts, n_ctx, limit, {"study": "tiny"})
    return hdf5.read(folder / "corpus" / "tokens.h5", TOKENS)


def test_rows_begin_with_bos_and_drop_the_remainder(tiny_gpt2, tmp_path):
    table = corpus(tmp_path, tiny_gpt2.tokenizer, ["abcdefghijk"])
    assert table["token_id"].tolist() == [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8]]
    assert table["token_id"].dtype == np.int32
    assert [table.attributes[name] for name in ("n_documents", "n_dropped", "n_skipped")] == [1, 3, 0]


def test_a_text_of_exactly_one_row_is_enough(tiny_gpt2, tmp_path):
    assert corpus(tmp_path, tiny_gpt2.tokenizer, ["abcd"])["token_id"].tolist() == [[0, 1, 2, 3, 4]]


def test_a_text_shorter_than_a_row_is_refused(tiny_gpt2, tmp_path):
    with pytest.raises(UserError, match=r"has 3 tokens, fewer than the 4 of one row") as caught:
        corpus(tmp_path, tiny_gpt2.tokenizer, ["abc"])
    assert caught.value.setting == "corpus: {n_ctx: 3}"
    with pytest.raises(UserError, match=r"has 6 tokens, and no document with the 4 of one row"):
        corpus(tmp_path, tiny_gpt2.tokenizer, ["abc", "def"], packing=DOCUMENTS)


def test_a_tokenizer_of_another_model_is_refused(tiny_gpt2, tmp_path):
    with pytest.raises(UserError, match=r"makes token 4 \('d'\), beyond the model's vocabulary of 4"):
        corpus(tmp_path, tiny_gpt2.tokenizer, ["abcd"], d_vocab=4)


def test_documents_are_joined_by_eos(tiny_gpt2, tmp_path):
    """EOS of the tiny model is 0, as its BOS; the last document has none behind it."""
    table = corpus(tmp_path, tiny_gpt2.tokenizer, ["abc", "", "defg", "hij"], n_ctx=4)
    assert table["token_id"].tolist() == [[0, 1, 2, 3], [0, 0, 0, 4], [0, 5, 6, 7], [0, 0, 8, 9]]
    assert table.attributes["n_dropped"] == 1
    where = zip(*(table[f"document_{name}"].tolist() for name in ("row", "pos", "line")), strict=True)
    assert list(where) == [(0, 1, 1), (1, 2, 2), (1, 3, 3), (3, 2, 4)]


def test_rows_of_single_documents_drop_each_ones_remainder(tiny_gpt2, tmp_path):
    table = corpus(tmp_path, tiny_gpt2.tokenizer, TEXTS, packing=DOCUMENTS)
    assert table["token_id"].tolist() == [
        [0, 1, 2, 3, 4], [0, 8, 9, 10, 11], [0, 12, 13, 14, 15], [0, 16, 17, 18, 19], [0, 23, 24, 25, 26],
    ]  # fmt: skip
    assert table["document_line"].tolist() == [1, 4, 6]
    assert table["document_row"].tolist() == [0, 1, 4]
    assert table.attributes["n_dropped"] == 1 + 0 + 2 + 1 + 2


@pytest.mark.parametrize("packing", [ROWS, DOCUMENTS])
@pytest.mark.parametrize("n_parts", [2, 3, 9])
@pytest.mark.parametrize("n_ctx", [2, 4, 8])
def test_parts_give_the_rows_of_the_whole(tiny_gpt2, tmp_path, packing, n_parts, n_ctx):
    """More parts than documents too, and parts whose documents fill no row."""
    whole = corpus(tmp_path / "whole", tiny_gpt2.tokenizer, TEXTS, n_ctx, packing)
    table = corpus(tmp_path / "parts", tiny_gpt2.tokenizer, TEXTS, n_ctx, packing, n_parts)
    for name, values in whole.datasets.items():
        assert table[name].tolist() == values.tolist(), name
    assert table.attributes == whole.attributes


def test_rows_hold_the_encodings_one_after_the_other(tiny_gpt2, tmp_path):
    encode, eos = tiny_gpt2.tokenizer.encode, tiny_gpt2.tokenizer.eos
    table = corpus(tmp_path, tiny_gpt2.tokenizer, TEXTS, n_ctx=4, n_parts=2)
    stream = [token for text in TEXTS for token in (*encode(text), eos)][:-1]
    body = table["token_id"][:, 1:].ravel().tolist()
    assert body == stream[: len(body)]
    assert len(stream) - len(body) == table.attributes["n_dropped"] < 3


def test_no_more_is_read_than_the_rows_that_are_wanted(tiny_gpt2, tmp_path, monkeypatch):
    monkeypatch.setattr("an_neuron.corpus.token_parts.BATCH_DOCUMENTS", 1)

    def texts():
        yield from ((0, Item(number, text)) for number, text in enumerate(["abcd", "efgh", "ijkl"]))
        raise AssertionError("read on")

    part = tmp_path / "1-of-1.h5"
    packing = Packing(ROWS, 5, 2)
    write_part(part, DocumentReader(texts()), ["a.jsonl"], tiny_gpt2.tokenizer, 50, packing, {})
    gather_tokens(tmp_path / "tokens.h5", [part], 5, 2, {})
    table = hdf5.read(tmp_path / "tokens.h5", TOKENS)
    assert table["token_id"].tolist() == [[0, 1, 2, 3, 4], [0, 0, 5, 6, 7]]
    assert table["document_line"].tolist() == [0, 1]


def test_pieces_are_whole_rows_and_what_stands_at_the_ends_of_parts():
    found = [
        (one.part, one.start, one.stop, one.rows.start, one.rows.stop, one.columns.start, one.columns.stop)
        for one in pieces([11, 2, 0, 9], n_rows=5, n_ctx=5)
    ]
    assert found == [
        (0, 0, 8, 0, 2, 1, 5),
        (0, 8, 11, 2, 3, 1, 4),
        (1, 0, 1, 2, 3, 4, 5),
        (1, 1, 2, 3, 4, 1, 2),
        (3, 0, 3, 3, 4, 2, 5),
        (3, 3, 7, 4, 5, 1, 5),
    ]


def test_a_lost_or_damaged_part_is_named(tiny_gpt2, tmp_path):
    corpus(tmp_path, tiny_gpt2.tokenizer, TEXTS, n_parts=2)
    part = tmp_path / "corpus" / "parts" / "2-of-2.h5"
    content = bytearray(part.read_bytes())
    content[2000] ^= 1
    part.write_bytes(content)
    with pytest.raises(UserError, match=r"2-of-2\.h5 is damaged"):
        hdf5.read(tmp_path / "corpus" / "tokens.h5")
    part.unlink()
    with pytest.raises(UserError, match=r"2-of-2\.h5"):
        hdf5.read(tmp_path / "corpus" / "tokens.h5")


def test_the_document_of_a_place_is_the_last_that_began(tiny_gpt2, tmp_path):
    documents = Documents(
        ROWS, np.array([0, 1, 1]), np.array([1, 2, 3]), np.array([0, 0, 1]), np.array([1, 2, 0]), ["a", "b"]
    )
    row, pos = np.array([0, 0, 1, 1, 1, 1, 2]), np.array([0, 3, 0, 1, 2, 3, 0])
    assert documents.at(row, pos).tolist() == [0, 0, 0, 0, 1, 2, 2]
    assert documents.names(row, pos) == ["a:1", "a:1", "a:1", "a:1", "a:2", "b", "b"]
    assert documents.of_rows(3).tolist() == [0, 0, 2]
    assert documents.continued(3).tolist() == [True, True, False]


def test_documents_of_more_tokens_than_32_bits_count_are_told_apart(tmp_path):
    path, columns = tmp_path / "tokens.h5", {"row": [0, 1_500_000, 3_000_000], "pos": [1, 2047, 5]}
    columns |= {"file": [0, 0, 0], "line": [1, 2, 3]}
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[f"document_{name}"] = np.array(values, np.int32)
        file["file"], file.attrs["packing"] = ["a"], ROWS
    with h5py.File(path) as file:
        documents = Documents.of_file(file)
    row, pos = (np.array(n, np.int32) for n in ([0, 1_500_000, 1_500_000, 3_000_000, 3_000_000], [5, 2046, 2047, 4, 5]))
    assert documents.at(row, pos).tolist() == [0, 0, 1, 1, 2]
    assert documents.names(row, pos) == ["a:1", "a:1", "a:2", "a:2", "a:3"]


def test_rows_of_a_document_go_on_in_the_next_and_are_drawn_together():
    row = np.arange(0, 40, 2)
    documents = Documents(DOCUMENTS, row, np.ones(20, int), np.zeros(20, int), np.arange(20), ["a"])
    assert documents.continued(40).tolist() == [True, False] * 20
    what, group = documents.groups(40)
    assert (what, group.tolist()) == ("document", [number // 2 for number in range(40)])
    what, group = documents.groups(38)
    assert (what, group.tolist()) == ("row", list(range(38)))


def test_rows_are_as_long_as_the_model_reads_but_at_most_2048():
    shape = Shape(n_layers=2, d_model=4, d_mlp=8, n_ctx=131072, d_vocab=9)
    assert row_length(None, shape) == 2048
    assert row_length(512, shape) == 512
    assert row_length(0, Shape(2, 4, 8, 1024, 9)) == 1024


def test_bytes_of_tokens_are_those_of_the_text_or_of_the_rows_wanted():
    """Eight bytes of text are a token at least, which takes four bytes; 3 rows of 5 hold 12 tokens besides BOS."""
    assert Packing(ROWS, 5).least_bytes(1000) == 500
    assert Packing(ROWS, 5, 3).least_bytes(1000) == 48
    assert Packing(ROWS, 5, 3).least_bytes(20) == 8
