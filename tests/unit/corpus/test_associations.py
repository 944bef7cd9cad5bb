import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from an_neuron.congruence.ranking import TopNeurons, TopTokens, rank_congruence, write_top_neurons, write_top_tokens
from an_neuron.corpus.associations import (
    Association,
    association_names,
    mutually_exclusive,
    named_associations,
    read_associations,
    studied_tokens,
    unique,
    write_associations,
)
from an_neuron.errors import UserError
from an_neuron.files import hdf5

D_MLP = 2
PATTERN = r"token_\w+_neuron_[0-9]+\.[0-9]+"
VOCABULARY = [" an", "an", " the", ",", " so"]
# Dot products of five tokens with the neurons 0 and 1 of layer 0, and 0 and 1 of layer 1:
PRODUCTS = [
    [9, 1, 0, 4],  # " an": 5 above its second; its neuron is 1 above "an"
    [8, 2, 0, 0],  # "an": its best neuron has a better token
    [0, 7, 3, 1],  # " the": 4 above its second; its neuron is 5 above "an"
    [0, 0, 6, 6],  # ",": two best neurons
    [-2, -3, -4, 8],  # " so": 10 above its second; its neuron is 2 above ","
]
AN, THE, SO = (
    Association(" an", 0, 0, 0, "exclusive"),
    Association(" the", 2, 0, 1, "exclusive"),
    Association(" so", 4, 1, 1, "exclusive"),
)


@pytest.fixture
def stored(tmp_path):
    """Write the best of each token and neuron of a matrix, [d_vocab, n_layers * d_mlp], and read them back."""

    def store(products, vocabulary=VOCABULARY):
        matrix = torch.tensor(products, dtype=torch.float32)
        of_token, of_neuron = matrix.topk(2, dim=1), matrix.T.unflatten(0, (-1, D_MLP)).topk(2, dim=2)
        neurons = TopNeurons(of_token.values, of_token.indices // D_MLP, of_token.indices % D_MLP)
        return write(neurons, TopTokens(of_neuron.values, of_neuron.indices), vocabulary)

    def write(neurons, tokens, vocabulary):
        write_top_neurons(tmp_path / "top_neurons.h5", neurons, vocabulary, {})
        write_top_tokens(tmp_path / "top_tokens.h5", tokens, {})
        return hdf5.read(tmp_path / "top_neurons.h5"), hdf5.read(tmp_path / "top_tokens.h5")

    store.write = write
    return store


def names(*tokens, layer=31, index=892):
    return association_names((token, layer, index) for token in tokens)


def slugs(*tokens):
    return [name.removeprefix("token_").removesuffix("_neuron_31.892") for name in names(*tokens)]


def test_mutually_best_associations_are_ranked_by_the_product_of_their_gaps(stored):
    read = stored(PRODUCTS)
    # 4 * 5 and 10 * 2 are equal, so the lower token id is first; 5 * 1 is the last.
    assert mutually_exclusive(*read, number=9) == [THE, SO, AN]
    assert [mutually_exclusive(*read, number) for number in (0, 1, 2)] == [[], [THE], [THE, SO]]


def test_a_larger_product_comes_first_whatever_the_token_id(stored):
    products = [*PRODUCTS[:4], [-2, -3, -4, 8.5]]  # 10.5 * 2.5
    assert mutually_exclusive(*stored(products), number=2) == [SO, THE]


def test_neither_of_two_equally_good_tokens_stands_out(stored):
    assert mutually_exclusive(*stored([[5, 1], [5, 0]], ["a", "b"]), number=2) == []


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_gap_that_is_no_number_does_not_win(stored, broken):
    neurons, tokens = stored(PRODUCTS)
    neurons["value"][2, 1] = broken
    assert mutually_exclusive(neurons, tokens, 9) == [SO, AN]
    tokens["value"][0, 0, 0] = broken
    assert mutually_exclusive(neurons, tokens, 9) == [SO]


def test_associations_of_a_micro_model(stored, micro):
    read = stored.write(*rank_congruence(micro.raw), micro.tokenizer.vocabulary(5))
    # Token c: 32 above neuron 2, 16 above token 0; token b: 4 and 4. Neuron 1 is nobody's best.
    assert mutually_exclusive(*read, number=5) == [
        Association("c", 3, 0, 0, "exclusive"),
        Association("b", 2, 0, 2, "exclusive"),
    ]


def test_without_a_second_there_is_no_gap(stored):
    one = TopTokens(torch.tensor([[[3.0, -math.inf]]]), torch.zeros(1, 1, 2, dtype=torch.long))
    neurons = TopNeurons(torch.tensor([[3.0, -math.inf]]), *torch.zeros(2, 1, 2, dtype=torch.long))
    assert mutually_exclusive(*stored.write(neurons, one, ["a"]), number=1) == []


def test_associations_of_a_real_matrix_are_mutually_best(stored, tiny_gpt2):
    model = tiny_gpt2.processed
    read = stored.write(*rank_congruence(model), tiny_gpt2.tokenizer.vocabulary(50))
    matrix = (model.W_E @ torch.cat([block.mlp.W_out for block in model.blocks]).T).detach()
    expected = {}
    for token in range(50):
        neuron = int(matrix[token].argmax())
        if int(matrix[:, neuron].argmax()) == token:
            row, column = matrix[token].sort().values, matrix[:, neuron].sort().values
            expected[token, neuron // 24, neuron % 24] = float((row[-1] - row[-2]) * (column[-1] - column[-2]))
    found = [
        (association.token_id, association.layer, association.index)
        for association in mutually_exclusive(*read, number=50)
    ]
    assert len(found) > 1
    assert found == sorted(expected, key=expected.__getitem__, reverse=True)


def test_names_hold_the_stripped_token():
    assert names(" an") == ["token_an_neuron_31.892"]
    assert slugs(" New York", "don't", " über", "日本", "_init", "__") == [
        "New_York", "don_t", "über", "日本", "init", "x5f5f",
    ]  # fmt: skip


def test_a_token_without_letters_is_named_by_its_bytes():
    assert slugs(",", " ,", " ", "\n", "�", "") == ["x2c", "x202c", "x20", "x0a", "xefbfbd", "x"]


def test_tokens_of_one_neuron_with_the_same_name_are_numbered():
    assert slugs(" an", "an", "an.", "an 2") == ["an", "an_2", "an_3", "an_2_2"]
    assert slugs("an 2", "an", " an") == ["an_2", "an", "an_3"]
    assert slugs("An", "an", "AN") == ["An", "an_2", "AN_3"]
    assert association_names([(" an", 0, 1), ("an", 1, 1), ("an", 0, 2)]) == [
        "token_an_neuron_0.1", "token_an_neuron_1.1", "token_an_neuron_0.2",
    ]  # fmt: skip


def test_long_names_are_cut_before_they_are_compared():
    assert slugs("a" * 41, "a" * 42) == ["a" * 40, "a" * 40 + "_2"]
    assert slugs("a" * 39 + " b") == ["a" * 39], "no underscore is left at the end"
    assert slugs("-" * 64) == [("x" + "2d" * 64)[:40]]


def test_every_character_gives_a_name_that_file_systems_bear():
    codes = [*range(0x3000), *range(0x3000, sys.maxunicode, 101)]
    characters = [chr(code) for code in codes if not 0xD800 <= code < 0xE000]
    found = [name for character in characters for name in names(f" {character}")]
    assert all(re.fullmatch(PATTERN, name) and name.isprintable() for name in found)
    assert max(len(name.encode()) for name in names("𝔸" * 50)) < 200


def test_the_first_of_each_association_is_kept():
    studied, listed = replace(AN, source="studied"), replace(AN, source="listed")
    other_token, other_neuron = replace(AN, token_id=1), replace(AN, index=1)
    assert unique([studied, SO, listed, other_token, AN, other_neuron]) == [studied, SO, other_token, other_neuron]
    assert unique(iter([])) == []


def test_associations_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "folder" / "associations.json"
    associations = [replace(AN, source="studied"), replace(AN, token="an", token_id=1), replace(SO, token='ü\n"🙂')]
    write_associations(path, iter(associations))
    assert read_associations(path) == associations
    assert [entry["name"] for entry in json.loads(path.read_text("utf-8"))] == [
        "token_an_neuron_0.0", "token_an_2_neuron_0.0", "token_ü_neuron_1.1",
    ]  # fmt: skip
    assert "ü" in path.read_text("utf-8")
    assert list(path.parent.iterdir()) == [path]


def test_no_associations_come_back_as_none(tmp_path):
    write_associations(tmp_path / "associations.json", [])
    assert read_associations(tmp_path / "associations.json") == []


def test_a_missing_file_of_associations_is_named(tmp_path):
    with pytest.raises(UserError, match=re.escape(f"{tmp_path / 'associations.json'} cannot be read")):
        read_associations(tmp_path / "associations.json")


@pytest.mark.parametrize("kept", [0, 1, 40, -4])
def test_a_file_of_associations_cut_short_is_named(tmp_path, kept):
    path = tmp_path / "associations.json"
    write_associations(path, [AN, SO])
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=re.escape(f"{path} is damaged")):
        read_associations(path)


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        "3",
        "[3]",
        "[{}]",
        '[{"token": " an", "token_id": 0, "layer": 0, "index": 0}]',
        '[{"token": " an", "token_id": 0, "layer": 0, "index": 0, "source": "elsewhere"}]',
        '[{"token": " an", "token_id": "0", "layer": 0, "index": 0, "source": "listed"}]',
        '[{"token": " an", "token_id": 0, "layer": true, "index": 0, "source": "listed"}]',
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, content):
    path = tmp_path / "associations.json"
    path.write_text(content)
    with pytest.raises(UserError, match=re.escape(f"{path} holds no list of tokens and neurons")):
        read_associations(path)


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "associations.json").write_bytes(b"[\xff]")
    with pytest.raises(UserError, match="is damaged"):
        read_associations(tmp_path / "associations.json")


def test_reading_associations_needs_no_torch():
    code = "import sys, an_neuron.corpus.associations; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_studied_and_the_listed_associations_are_named(tiny_gpt2):
    listed = [{"token": " the", "layer": 0, "index": 3}, {"token": "b", "layer": 1, "index": 2}]
    associations = named_associations(tiny_gpt2.tokenizer, " an", {"layer": 1, "index": 7, "recovery": 0.5}, listed)
    ids = [tiny_gpt2.tokenizer.encode(text)[0] for text in (" an", " the", "b")]
    assert associations == [
        Association(" an", ids[0], 1, 7, "studied"),
        Association(" the", ids[1], 0, 3, "listed"),
        Association("b", ids[2], 1, 2, "listed"),
    ]
    with pytest.raises(UserError, match="'abc' is not a single token"):
        named_associations(tiny_gpt2.tokenizer, "abc", {"layer": 0, "index": 0}, [])


def test_each_studied_token_counts_once():
    associations = [Association("x", token, 0, 0, "listed") for token in (5, 2, 5, 9, 2)]
    assert studied_tokens(associations) == [5, 2, 9]
