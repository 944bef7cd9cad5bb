"""Machines that make mistakes in configurations and files: each works, or a sentence says what is wrong.

FUZZ_EXAMPLES says how many are tried: 200 where it is not set, and then the same ones every time; `make fuzz` tries
2,000 others. What takes long is tried with a share of them.
"""

import copy
import json
import os
import re
import shutil
from dataclasses import asdict
from datetime import date
from math import inf, nan
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snakemake.utils import validate

from an_neuron.errors import UserError
from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.prompts.prompt_set import read_prompt_file
from an_neuron.study.checks import check_config
from an_neuron.study.fit import model_mistakes
from an_neuron.study.published_values import published_rows
from an_neuron.study.study import Study
from an_neuron.study.written import check_written

ROOT = Path(__file__).resolve().parents[3]
SCHEMA_FILE = ROOT / "workflow" / "schemas" / "config.schema.yaml"
SCHEMA = yaml.safe_load(SCHEMA_FILE.read_text())
SHIPPED = yaml.safe_load((ROOT / "config.yaml").read_text())
MODEL = ROOT / "resources" / "orchard" / "model"
ASKED = int(os.environ.get("FUZZ_EXAMPLES", 0))
PLACE = r"\S.*?"
LONGEST = 2000  # characters of a sentence; two tokenizations stand in some


def tried(share=1.0):
    """Return the settings of a test that tries some share of the examples."""
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large]
    return settings(
        max_examples=max(10, int(share * (ASKED or 200))), deadline=None, derandomize=not ASKED, database=None,
        suppress_health_check=checks,
    )  # fmt: skip


ODD = st.one_of(
    st.sampled_from([None, True, False, 0, -1, 1, 2.0, 0.5, inf, -inf, nan, 10**12, -(10**30), date(2020, 1, 1), b"x"]),
    st.sampled_from(["", " ", "\n", "a\n", "\0", "no", "auto", "{study}", "a{b", "..", "/", "~", "*", "a/b", "é中"]),
    st.sampled_from(["\ud800", "x" * 300, "y" * 5000, "<|endoftext|>", "9.9", "0.0", "1.2.3", "-1.0", "٣.١"]),
    st.sampled_from(["rot13", "unicode_escape", "utf-16", "cp1252", "http://x", "https://", "pathvars", "compare"]),
    st.sampled_from([[], {}, [[]], [None], {"a": 1}, {None: 1}, {1: 2}, {"clean": "a", "corrupted": "b"}]),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
)
KEYS = st.one_of(
    st.sampled_from([None, True, 1, 2.5, "all", "patch_sites", "figures", "Orchard", "a" * 101, "a\n", "pairs"]),
    st.sampled_from(["hub", "revision", "folder", "gguf", "file", "url", "sha256", "clean", "layer", "index"]),
    st.text(max_size=10),
)


def places(node, path=()):
    """Yield the path of everything below a node."""
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in below:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutate(draw, root):
    """Drop, double, retype, rename or nest something that is drawn."""
    paths = list(places(root))
    if not paths:
        return
    *above, key = draw(st.sampled_from(paths))
    parent = root
    for part in above:
        parent = parent[part]
    kind = draw(st.sampled_from(["drop", "retype", "retype", "rename", "nest", "double"]))
    if kind == "drop":
        del parent[key]
    elif kind == "retype":
        parent[key] = copy.deepcopy(draw(ODD))  # a second mutation must not change what is drawn from
    elif kind == "nest":
        parent[key] = draw(st.sampled_from([lambda value: [value], lambda value: {"folder": value}]))(parent[key])
    elif isinstance(parent, list):
        parent.append(copy.deepcopy(parent[key]))
    elif kind == "double":
        parent[draw(KEYS)] = copy.deepcopy(parent[key])
    else:
        parent[draw(KEYS)] = parent.pop(key)


@st.composite
def mutations(draw, root):
    """Return a copy of a tree with one to three mutations."""
    mutated = copy.deepcopy(root)
    for _ in range(draw(st.integers(1, 3))):
        mutate(draw, mutated)
    return mutated


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the resources, but without downloads."""
    folder = tmp_path_factory.mktemp("mutations")
    (folder / "resources").symlink_to(ROOT / "resources")
    return folder


def sentences(error):
    """Return what an error says, a mistake each, and hold its form."""
    said = str(error)
    assert said.strip()
    assert "Traceback" not in said
    assert "object at 0x" not in said
    lines = said.split("\n  - ")
    assert all(len(line) <= LONGEST for line in lines), said
    return lines


def told(error, path):
    """Hold the form of what an error says, and that it names a file."""
    assert str(path) in sentences(error)[0]


@given(mutations(SHIPPED))
@tried()
def test_a_mutated_configuration_is_a_study_or_mistakes_in_sentences(folder, config):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        try:
            check_config(config, SCHEMA, ["patch_sites"])
        except UserError as error:
            head, *mistakes = sentences(error)
            assert head.startswith("The configuration has ")
            assert mistakes
            for mistake in mistakes:
                assert re.match(rf"{PLACE}: \S", mistake, re.DOTALL), mistake
                assert mistake.rstrip().endswith((".", "?", "'", '"')) or "Corrupted:" in mistake, mistake
            return
        validate(config, str(SCHEMA_FILE))
        for name, block in config["studies"].items():
            study = Study.of(name, block)
            assert study.part()["answer"] == block["answer"]
            assert study.results == f"results/{name}"
            assert all([study.attributes, study.choice, study.corpus_options, study.known_shape(), study.sources])
            part = {key: value for key, value in study.part().items() if key != "prompt_file"}
            assert Study.of(name, part).part() == part  # what a job is handed is the study


@given(st.data())
@tried(0.15)
def test_a_mutated_file_of_the_configuration_is_read_or_a_sentence_says_why_not(tmp_path, data):
    path = tmp_path / "config.yaml"
    path.write_bytes(damaged(data.draw, (ROOT / "config.yaml").read_bytes()))
    try:
        check_written(path)
    except UserError as error:
        told(error, path)
        return
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def damaged(draw, content):
    """Return bytes of which some are flipped, dropped or doubled, or that end too early."""
    changed = bytearray(content)
    kind = draw(st.sampled_from(["flip", "cut", "drop", "insert", "empty"]))
    if kind == "empty" or not changed:
        return draw(st.sampled_from([b"", b" ", b"\n", b"[1,2]", b"null", b"3", b'"a"', b"\xff\xfe", b"[" * 10**5]))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(changed) - 1)))
        if kind == "cut":
            del changed[at:]
        elif kind == "drop":
            del changed[at : at + draw(st.integers(1, 30))]
        elif kind == "insert":
            changed[at:at] = draw(st.sampled_from([b"\0", b"\xff", b'"', b",", b"{", b"\n", b"-", b"1"]))
        elif changed:
            changed[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


@pytest.fixture
def copied(tmp_path):
    """A copy of the embedded model, whose weights are not copied."""
    for path in MODEL.iterdir():
        if path.suffix == ".safetensors":
            (tmp_path / path.name).symlink_to(path)
        elif path.is_file():
            shutil.copyfile(path, tmp_path / path.name)
    return tmp_path


STUDY = {
    **SHIPPED["studies"]["orchard"],
    "further_prompts": ["An apple"],
    "associations": [{"token": " a", "neuron": "1.1"}],
}
SMALL = {name: json.loads((MODEL / name).read_text()) for name in ("config.json", "tokenizer_config.json")}
TOKENIZER = json.loads((MODEL / "tokenizer.json").read_text())


@given(st.data())
@tried(0.5)
def test_a_mutated_model_folder_fits_or_its_mistakes_are_sentences(copied, data):
    name = data.draw(st.sampled_from(["config.json", "tokenizer_config.json", "tokenizer.json"]))
    before = (MODEL / name).read_bytes()
    if data.draw(st.booleans()):
        changed = damaged(data.draw, before)
    else:
        changed = json.dumps(data.draw(mutated_json(name))).encode()
    (copied / name).write_bytes(changed)
    try:
        mistakes = model_mistakes(STUDY, copied)
        assert all(re.match(rf"{PLACE}: \S", mistake, re.DOTALL) for mistake in mistakes), mistakes
        if not mistakes:
            Tokenizer(copied).vocabulary(5)
    finally:
        (copied / name).write_bytes(before)


def mutated_json(name):
    """Return a file's content with some mutations that JSON can write."""
    if name == "tokenizer.json":  # its vocabulary alone would take most of them
        tree = {**TOKENIZER, "model": {**TOKENIZER["model"], "vocab": {}, "merges": []}}
        whole = {"vocab": TOKENIZER["model"]["vocab"], "merges": TOKENIZER["model"]["merges"]}
        return mutations(tree).filter(is_json).map(lambda mutated: refilled(mutated, whole))
    return mutations(SMALL[name]).filter(is_json)


def is_json(tree):
    try:
        json.dumps(tree)
    except TypeError:
        return False
    return True


def refilled(tree, whole):
    """Return a tokenizer with its vocabulary, unless a mutation took that."""
    model = tree.get("model")
    if isinstance(model, dict) and model.get("vocab") == {} and model.get("merges") == []:
        return {**tree, "model": {**model, **whole}}
    return tree


@given(st.data())
@tried(0.05)
def test_a_mutated_config_json_gives_a_model_or_a_sentence(copied, data):
    before = (MODEL / "config.json").read_bytes()
    (copied / "config.json").write_text(json.dumps(data.draw(mutated_json("config.json"))))
    try:
        load_model(copied)
    except UserError as error:
        told(error, copied)
    finally:
        (copied / "config.json").write_bytes(before)


PROMPTS = ROOT / "resources" / "smollm2" / "prompts.csv"
LINES = "\n".join(json.dumps(asdict(pair)) for pair in read_prompt_file(PROMPTS))
TABLES = [
    ("prompts.csv", PROMPTS.read_bytes(), read_prompt_file),
    ("prompts.jsonl", LINES.encode(), read_prompt_file),
    ("published.csv", (ROOT / "resources" / "published" / "orchard.csv").read_bytes(), published_rows),
]


@given(st.data())
@tried(0.5)
def test_a_mutated_table_is_read_or_a_sentence_says_why_not(tmp_path, data):
    name, content, reader = data.draw(st.sampled_from(TABLES))
    changed = tmp_path / name
    changed.write_bytes(damaged(data.draw, content))
    try:
        assert reader(changed) is not None
    except UserError as error:
        told(error, changed)
