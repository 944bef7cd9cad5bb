import json
import re
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import pytest

from an_neuron.corpus.associations import (
    Association,
    association_names,
    read_associations,
    studied_tokens,
    unique,
    write_associations,
)
from an_neuron.errors import UserError
from an_neuron.files.sealed import seal_of, write_text

PATTERN = r"token_\w+_neuron_[0-9]+\.[0-9]+"
AN, SO = (
    Association(" an", 0, 0, 0, "exclusive"),
    Association(" so", 4, 1, 1, "exclusive"),
)


GROUP = Association(" a/ b", 5, 0, 0, "listed", (2,))


def names(*tokens, layer=31, index=892):
    return association_names((token, layer, index) for token in tokens)


def slugs(*tokens):
    return [name.removeprefix("token_").removesuffix("_neuron_31.892") for name in names(*tokens)]


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
    assert sorted(path.parent.iterdir()) == [path, seal_of(path)]


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
        '[{"token": " an", "token_id": 0, "layer": 0, "index": 0, "source": "elsewhere", "further_ids": []}]',
        '[{"token": " an", "token_id": "0", "layer": 0, "index": 0, "source": "listed", "further_ids": []}]',
        '[{"token": " an", "token_id": 0, "layer": true, "index": 0, "source": "listed", "further_ids": []}]',
        '[{"token": " an", "token_id": 0, "layer": 0, "index": 0, "source": "listed"}]',
        '[{"token": " an", "token_id": 0, "layer": 0, "index": 0, "source": "listed", "further_ids": [" a"]}]',
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, content):
    path = tmp_path / "associations.json"
    write_text(path, content)
    with pytest.raises(UserError, match=re.escape(f"{path} holds no list of tokens and neurons")):
        read_associations(path)


def test_bytes_that_are_no_text_are_named(tmp_path):
    path, content = tmp_path / "associations.json", b"[\xff]"
    path.write_bytes(content)
    seal_of(path).write_text(f"{sha256(content).hexdigest()}  {path.name}\n")
    with pytest.raises(UserError, match=re.escape(f"{path} is no text in UTF-8")):
        read_associations(path)


def test_reading_associations_needs_neither_torch_nor_hdf5():
    code = "import sys, an_neuron.corpus.associations; sys.exit('torch' in sys.modules or 'h5py' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_each_studied_token_counts_once():
    associations = [Association("x", token, 0, 0, "listed") for token in (5, 2, 5, 9, 2)]
    assert studied_tokens(associations) == [(5,), (2,), (9,)]
    assert studied_tokens([*associations, GROUP, GROUP]) == [(5,), (2,), (9,), (5, 2)]


def test_a_group_of_tokens_is_another_association_than_one_of_them(tmp_path):
    alone = replace(GROUP, token=" a", further_ids=())
    assert unique([GROUP, alone, GROUP]) == [GROUP, alone]
    write_associations(tmp_path / "associations.json", [GROUP, alone])
    assert read_associations(tmp_path / "associations.json") == [GROUP, alone]
    entry = json.loads((tmp_path / "associations.json").read_text("utf-8"))[0]
    assert (entry["token"], entry["token_id"], entry["further_ids"]) == (" a/ b", 5, [2])
    assert entry["name"] == "token_a_b_neuron_0.0"
