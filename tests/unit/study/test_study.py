import copy
import json
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
import yaml

from an_neuron.study.listed import Listed
from an_neuron.study.study import UNKNOWN, Study

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
HUB = {"hub": "Pear AI/pear-1", "revision": "0123456789" * 4}
BLOCK = {
    "model": HUB,
    "prompts": [{"clean": "an apple", "corrupted": "a lemon"}],
    "answer": " an",
    "foil": " a",
    "corpus": {"url": "https://example.org/book.html"},
}


def defaults(name):
    of = SCHEMA["$defs"].get(name) or SCHEMA["$defs"]["study"]["properties"][name]
    keys = of["properties"].items()
    return {key: copy.deepcopy(described["default"]) for key, described in keys if "default" in described}


def filled(block):
    """Fill in the schema's defaults, as Snakemake does."""
    nested = {key: {**defaults(key), **block.get(key, {})} for key in ("model", "corpus", "sweep", "figures")}
    return {**defaults("study"), **block, **nested}


def study(**keys):
    return Study.of("pear", filled({**BLOCK, **keys}))


@pytest.fixture
def local(tmp_path, monkeypatch):
    """A study of a model in a local folder, with 9 bytes of weights."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("two.safetensors", "one.safetensors", "tokenizer.json", "notes.md"):
        (folder / name).write_text("123")
    sizes = {"n_layer": 3, "n_embd": 10, "n_inner": 40, "n_positions": 64, "vocab_size": 80}
    (folder / "config.json").write_text(json.dumps(sizes))
    return study(model={"folder": "model"})


def test_a_study_cannot_be_changed():
    one = study()
    with pytest.raises(FrozenInstanceError):
        one.answer = " a"
    assert hash(one) == hash(study())


def test_defaults_are_those_of_the_schema():
    one = study()
    assert (one.neuron, one.associations, one.top, one.layers, one.top_k) == (None, (), 0, None, 5)
    assert one.model.processing == ("center_unembed", "center_writing_weights", "fold_ln")
    assert (one.corpus.keep, one.corpus.n_ctx, one.corpus.sha256) == ("all", None, None)


def test_neurons_are_read_from_their_names():
    one = study(neuron="31.890", associations=[{"token": " though", "neuron": "28.1921"}])
    assert one.neuron == (31, 890)
    assert one.associations == (Listed((" though",), 28, 1921),)


def test_files_of_a_hub_model_lie_under_its_name_and_revision():
    one = study(published="pear.csv")
    assert one.results == "results/pear"
    assert one.model.key == "Pear--AI--pear-1@01234567"
    assert one.model_folder == "downloads/models/Pear--AI--pear-1@01234567"
    assert one.model_files == [f"{one.model_folder}/fetched.json"]
    assert one.sources == [*one.model_files, one.corpus.book_file, "pear.csv"]
    assert one.corpus.book_file == f"downloads/books/{one.corpus.book_key}"
    assert one.model.source == HUB
    assert one.corpus.book_source == {"url": "https://example.org/book.html", "sha256": None}


def test_files_of_a_local_model_are_its_own(local):
    names = ("config.json", "tokenizer.json", "one.safetensors", "two.safetensors")
    assert local.model_folder == "model"
    assert local.model_files == [f"model/{name}" for name in names]
    assert local.model.key is None


def test_a_local_book_is_used_where_it_lies():
    one = study(corpus={"file": "book.txt"})
    assert one.corpus.book_file == "book.txt"
    assert one.sources[-1] == "book.txt"


def test_documents_come_from_files_or_a_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        (tmp_path / name).touch()
    one, several = study(corpus={"files": "c.txt"}), study(corpus={"files": ["c.txt", "?.jsonl"], "column": "body"})
    assert (one.corpus.paths, one.corpus.is_book) == (["c.txt"], False)
    assert several.corpus.paths == several.sources[1:] == ["c.txt", "a.jsonl", "b.jsonl"]
    assert several.corpus.documents == {
        "book": None,
        "how": {"column": "body", "encoding": None, "boilerplate": "keep"},
        "on_bad_line": "stop",
        "packing": "rows",
        "n_ctx": None,
        "rows": None,
    }
    of_hub = {"name": "a/b", "revision": "0" * 40, "split": "test", "column": "story"}
    whole, again = study(corpus={"dataset": of_hub}), study(corpus={"dataset": {**of_hub, "column": "title"}})
    assert whole.corpus.dataset.source == {"name": "a/b", "revision": "0" * 40, "config": None, "split": "test"}
    assert whole.corpus.paths == again.corpus.paths == [f"downloads/datasets/{whole.corpus.dataset.key}/dataset.json"]
    assert whole.corpus.documents["how"]["column"] == "story"
    assert whole.part("corpus")["corpus"]["dataset"] == of_hub


def test_a_book_is_one_document_and_the_length_of_rows_matters_where_less_is_read():
    book, first = study(), study(corpus={"file": "book.txt", "rows": 3, "n_ctx": 9})
    assert (book.corpus.documents["book"], book.corpus.is_book) == (book.corpus.book_file, True)
    assert (first.corpus.documents["n_ctx"], first.corpus.documents["rows"]) == (9, 3)
    assert study(corpus={"file": "book.txt", "n_ctx": 9}).corpus.documents["n_ctx"] is None
    assert study(corpus={"file": "book.txt", "n_ctx": 9, "packing": "documents"}).corpus.documents["n_ctx"] == 9


def test_a_model_that_is_not_fetched_has_the_sizes_of_another_in_estimates(local, monkeypatch, tmp_path):
    assert local.known_shape() == local.shape()
    assert (local.shape().n_layers, local.shape().d_mlp) == (3, 40)
    monkeypatch.chdir(tmp_path)
    assert study().known_shape() == UNKNOWN


def test_a_model_is_small_if_its_weights_are_known_to_be(local, monkeypatch):
    assert (local.weight_bytes_on_disk, local.is_small) == (6, True)
    monkeypatch.setattr("an_neuron.study.study.SMALL_MODEL", 6)
    assert (local.is_small, local.is_medium) == (False, True)
    monkeypatch.setattr("an_neuron.study.study.MEDIUM_MODEL", 6)
    assert not local.is_medium
    assert (study().weight_bytes_on_disk, study().is_small) == (0, False)


def test_swept_layers_are_the_listed_ones_or_all():
    assert study().swept_layers(UNKNOWN) == list(range(36))
    assert study(neuron="1.0").swept_layers(UNKNOWN) == list(range(36))
    assert study(layers=[2, 1]).swept_layers(UNKNOWN) == [1, 2]


def test_names_of_associations_are_known_where_the_model_has_nothing_to_choose():
    listed = [{"token": " a", "neuron": "0.1"}, {"token": " an", "neuron": "2.5"}, {"token": "an", "neuron": "2.5"}]
    one = study(neuron="2.5", associations=listed)
    assert not one.needs_choice
    assert one.association_names() == ["token_an_neuron_2.5", "token_a_neuron_0.1", "token_an_2_neuron_2.5"]
    assert one.studied_association(2, 5) == "token_an_neuron_2.5"


def test_a_group_of_tokens_is_one_association():
    group = {"tokens": [" though", " however"], "neuron": "2.5"}
    one = study(neuron="2.5", associations=[group, {"token": " though", "neuron": "2.5"}, group])
    assert one.associations[0] == Listed((" though", " however"), 2, 5)
    assert one.choice["associations"][0] == {"tokens": [" though", " however"], "layer": 2, "index": 5}
    assert one.part("associations")["associations"][:2] == [group, {"token": " though", "neuron": "2.5"}]
    assert one.association_names() == [
        "token_an_neuron_2.5", "token_though_however_neuron_2.5", "token_though_neuron_2.5",
    ]  # fmt: skip


@pytest.mark.parametrize("keys", [{}, {"neuron": "2.5", "top": 1}])
def test_names_of_associations_are_not_known_where_it_has(keys):
    one = study(**keys)
    assert one.needs_choice
    with pytest.raises(ValueError, match="chosen by its model"):
        one.association_names()


def test_every_file_tells_its_origin(local):
    assert study().attributes == {
        "study": "pear",
        "model": HUB["hub"],
        "revision": HUB["revision"],
        "dtype": "float32",
    }
    assert local.attributes == {"study": "pear", "model": "model", "revision": "local folder", "dtype": "float32"}


def test_a_choice_of_associations_tells_layers_and_indices():
    one = study(neuron="2.5", associations=[{"token": " a", "neuron": "0.1"}])
    assert one.choice == {
        "answer": " an",
        "neuron": {"layer": 2, "index": 5},
        "associations": [{"tokens": [" a"], "layer": 0, "index": 1}],
        "top": 0,
    }
    assert study(top=3).choice == {"answer": " an", "neuron": None, "associations": [], "top": 3}


def test_the_corpus_pass_takes_its_options_from_two_places():
    one = study(readout="embedding", corpus={"file": "book.txt", "keep": "summary"})
    assert one.corpus_options == {
        "readout": "embedding", "precision": "highest", "keep": "summary", "dtype": "float32",
    }  # fmt: skip


def test_watched_neurons_are_all_none_or_those_of_listed_layers():
    for written, watched in (("all", "all"), ("none", "none"), ([4, 2], [2, 4])):
        one = study(corpus={"file": "book.txt", "neurons": written})
        assert one.watched_neurons == watched
        assert one.watches_neurons == (written != "none")
        assert one.part("corpus")["corpus"]["neurons"] == watched
    assert not study().watches_neurons


def test_a_part_is_what_the_configuration_says():
    block = filled({**BLOCK, "neuron": "2.5", "associations": [{"token": " a", "neuron": "0.1"}], "layers": [1, 2]})
    block["model"]["processing"].sort()
    assert Study.of("pear", block).part() == block
    assert study().part("neuron", "layers", "answer") == {"neuron": "auto", "answer": " an"}
    assert Study.of("pear", study().part()) == study()


def builtins_only(value):
    if isinstance(value, dict):
        return all(type(key) is str and builtins_only(inner) for key, inner in value.items())
    return all(map(builtins_only, value)) if type(value) is list else type(value) in (str, int, float, bool)


def test_what_rules_hand_to_scripts_is_stable_and_plain(local):
    explicit = study(
        neuron="auto", top=0, model={**HUB, "processing": ["center_unembed", "fold_ln", "center_writing_weights"]}
    )
    assert json.dumps(explicit.part()) == json.dumps(study().part())
    one = study(neuron="2.5", associations=[{"token": " a", "neuron": "0.1"}], layers=[2])
    assert all(map(builtins_only, [one.part(), one.choice, one.corpus_options, one.attributes, local.attributes]))


def test_a_screen_is_in_float32_and_has_a_sample():
    assert study(sweep={"screen": 30}).part("sweep") == {
        "sweep": {"precision": "highest", "screen": 30, "sample": 1000}
    }
    assert study().part("sweep") == {"sweep": {"precision": "auto"}}


def test_a_screen_is_of_the_layers_that_are_listed():
    one = study(sweep={"screen": 30, "sample": 12}, layers=[1, 2])
    assert [one.screened(layers) for layers in ([1], [1, 2], [0])] == [42, 42, None]
    assert study(sweep={"screen": 30, "sample": 12}).screened([0]) == 42
    assert study().screened([0]) is None


def test_snakemake_reads_it_quickly():
    code = """
import sys, an_neuron.study.study
print(*{"torch", "numpy", "h5py", "pandas", "jsonschema", "transformers"} & set(sys.modules))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not ran.stdout.strip()
