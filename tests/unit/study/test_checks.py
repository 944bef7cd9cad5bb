import copy
import re
import shutil
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from snakemake.utils import validate

from an_neuron.corpus.documents import DOCUMENTS, ROWS
from an_neuron.corpus.reading import How
from an_neuron.corpus.rows import row_length
from an_neuron.corpus.token_parts import SKIP, STOP
from an_neuron.errors import UserError
from an_neuron.model.folder import Shape
from an_neuron.model.loading import PROCESSING
from an_neuron.patching.layers import divided
from an_neuron.study.checks import TEXTS, check_config
from an_neuron.study.fit import check_with_model
from an_neuron.study.study import Study

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())
SHIPPED = yaml.safe_load((ROOT / "config.yaml").read_text())
DEFAULTS = {key: of["default"] for key, of in SCHEMA["$defs"]["study"]["properties"].items() if "default" in of}
MODEL = ROOT / "resources" / "orchard" / "model"


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture
def config():
    return copy.deepcopy(SHIPPED)


@pytest.fixture
def orchard(config):
    return config["studies"]["orchard"]


def mistakes(config):
    with pytest.raises(UserError) as caught:
        check_config(config, SCHEMA)
    return str(caught.value)


def test_shipped_config_is_right():
    Draft202012Validator.check_schema(SCHEMA)
    check_config(SHIPPED, SCHEMA)


def test_every_key_is_described_and_every_default_allowed():
    def walk(node, path):
        for key, below in node.get("properties", {}).items():
            target = SCHEMA["$defs"][below["$ref"].split("/")[-1]] if "$ref" in below else below
            assert target.get("description"), f"{path}.{key}"
            if "default" in target:
                Draft202012Validator(target).validate(target["default"])
            walk(target, f"{path}.{key}")

    walk(SCHEMA, "config")
    walk(SCHEMA["$defs"]["study"], "study")


def test_schema_and_code_agree_on_processing():
    assert tuple(SCHEMA["$defs"]["model"]["properties"]["processing"]["items"]["enum"]) == PROCESSING


def test_schema_and_code_agree_on_documents():
    keys = SCHEMA["$defs"]["corpus"]["properties"]
    assert tuple(keys["packing"]["enum"]) == (ROWS, DOCUMENTS)
    assert tuple(keys["on_bad_line"]["enum"]) == (STOP, SKIP)
    assert keys["column"]["default"] == keys["dataset"]["properties"]["column"]["default"] == How().column
    assert set(TEXTS) | set().union(*TEXTS.values()) == set(keys) - {
        "n_ctx",
        "rows",
        "precision",
        "keep",
        "dtype",
        "neurons",
    }


def test_defaults_of_a_dataset_are_filled_in(config):
    validate(config, str(ROOT / "workflow/schemas/config.schema.yaml"))
    pile = Study.of("pile", config["studies"]["an_neuron_pile"])
    assert (pile.corpus.dataset.split, pile.corpus.dataset.column, pile.corpus.packing) == ("train", "text", "rows")


def test_defaults_are_filled_in(config):
    minimal = {key: config["studies"]["orchard"][key] for key in ("model", "prompts", "answer", "foil", "corpus")}
    config = {"studies": {"mine": minimal}}
    validate(config, str(ROOT / "workflow/schemas/config.schema.yaml"))
    assert config["device"] == "auto"
    assert config["formats"] == ["png", "svg", "html"]
    assert config["studies"]["mine"]["neuron"] == "auto"
    assert config["studies"]["mine"]["readout"] == "unembedding"
    assert config["studies"]["mine"]["model"]["processing"] == ["fold_ln", "center_writing_weights", "center_unembed"]


def test_unknown_key_is_named_with_the_nearest_known_one(config, orchard):
    config["formatz"] = ["png"]
    orchard["promts"] = []
    said = mistakes(config)
    assert "formatz: unknown key; do you mean 'formats'?" in said
    assert "studies.orchard.promts: unknown key; do you mean 'prompts'?" in said


def test_missing_key_is_named_with_what_belongs_there(config, orchard):
    del orchard["foil"]
    assert "studies.orchard.foil: missing; expected: the token, in quotes and with its leading space" in mistakes(
        config
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("top_k", 0, "studies.orchard.top_k: 0 cannot be; expected: how many"),
        ("readout", "logits", "studies.orchard.readout: 'logits' cannot be; expected: unembedding"),
        ("neuron", "best", "studies.orchard.neuron: 'best' cannot be; expected: auto"),
        ("neuron", 31.89, "studies.orchard.neuron: 31.89 is a number, which loses zeros at its end; put it in quotes"),
        ("neuron", {"layer": 1}, "studies.orchard.neuron: {'layer': 1} cannot be; expected: auto"),
        ("neuron", "3.0", "studies.orchard.neuron: layer 3 is out of range; this model has 0 to 2"),
        ("neuron", "2.999", "studies.orchard.neuron: index 999 is out of range"),
        (
            "associations",
            [{"token": " a", "neuron": "0.128"}],
            "orchard.associations[0].neuron: index 128 is out of range; this model",
        ),
        (
            "associations",
            [{"token": " a b", "neuron": "0.0"}],
            "orchard.associations[0].token: ' a b' is not a single token",
        ),
        (
            "associations",
            [{"tokens": [" a", " a b"], "neuron": "0.0"}],
            "orchard.associations[0].tokens[1]: ' a b' is not a single token",
        ),
        (
            "associations",
            [{"tokens": [" a", " an"], "token": " a", "neuron": "0.0"}],
            "orchard.associations[0]: give either token or tokens, a group in the place of one.",
        ),
        ("associations", [{"neuron": "0.0"}], "orchard.associations[0]: give either token or tokens, a group"),
        (
            "associations",
            [{"tokens": [], "neuron": "0.0"}],
            "orchard.associations[0].tokens: [] cannot be; expected: a group, a list of two or more different tokens",
        ),
        (
            "associations",
            [{"tokens": [" a", " a"], "neuron": "0.0"}],
            "orchard.associations[0].tokens: [' a', ' a'] cannot be; expected: a group, a list of two or more",
        ),
        ("associations", [{"token": " a"}], "studies.orchard.associations[0].neuron: missing; expected: a neuron"),
        ("associations", [{"token": " a", "neuron": 2.5}], "orchard.associations[0].neuron: 2.5 is a number"),
        # keys with a new name
        ("neuron", {"layer": 2, "index": 5}, 'orchard.neuron: layer and index are one name now; write neuron: "2.5".'),
        (
            "associations",
            [{"token": " a", "layer": 0, "index": 10}],
            'orchard.associations[0]: layer and index are one key now; write neuron: "0.10".',
        ),
        ("pairs", [], "studies.orchard.pairs: this key is called associations now."),
        ("top", -1, "studies.orchard.top: -1 cannot be; expected: how many mutually exclusive associations"),
        (
            "sweep",
            {"screen": 0},
            "studies.orchard.sweep.screen: 0 cannot be; expected: how many neurons are patched because",
        ),
        ("sweep", {"screen": 9, "sample": 0}, "studies.orchard.sweep.sample: 0 cannot be; expected: how many of the"),
        ("sweep", {"sample": 9}, "studies.orchard.sweep.sample: has no meaning without screen; add screen, or"),
        (
            "sweep",
            {"screen": 9, "sample": 9, "precision": "bfloat16"},
            "studies.orchard.sweep.precision: has no meaning beside screen, whose neurons are patched in float32",
        ),
        (
            "sweep",
            {"screen": 9},
            "studies.orchard.sweep: screen (9) and sample (1,000) leave none of 384 neurons out; give fewer, or remove",
        ),
        ("layers", [0, 5], "studies.orchard.layers: 5 is out of range; this model has layers 0 to 2"),
        ("answer", "an apple", "studies.orchard.answer: 'an apple' is not a single token of this model but "),
        ("foil", " an", "studies.orchard.foil: answer and foil are both ' an'"),
        ("published", "no.csv", "studies.orchard.published: there is no file 'no.csv'"),
        (
            "corpus",
            {"file": "config.yaml", "neurons": [0, 5]},
            "studies.orchard.corpus.neurons: 5 is out of range; this model has layers 0 to 2",
        ),
        (
            "corpus",
            {"file": "config.yaml", "neurons": "some"},
            "studies.orchard.corpus.neurons: 'some' cannot be; expected: all, none, or a list of layers",
        ),
        ("corpus", {"file": "no.html"}, "studies.orchard.corpus.file: there is no file 'no.html'"),
        ("corpus", {"url": "https://x.org/b", "file": "README.md"}, "studies.orchard.corpus: give one of url"),
        ("corpus", {"files": "no*.txt"}, "studies.orchard.corpus.files: there is no file 'no*.txt'; give a local file"),
        ("corpus", {"files": ["LICENSE"]}, "studies.orchard.corpus.files: 'LICENSE' cannot be read; give files named"),
        ("corpus", {"files": []}, "studies.orchard.corpus.files: [] cannot be; expected: paths or patterns"),
        ("corpus", {"files": [3]}, "studies.orchard.corpus.files[0]: 3 is a number"),
        (
            "corpus",
            {"files": "resources/orchard/*.html", "sha256": "0" * 64},
            "corpus.sha256: has no meaning beside files",
        ),
        (
            "corpus",
            {"file": "README.md", "packing": "documents"},
            "corpus.packing: has no meaning beside file; remove it.",
        ),
        (
            "corpus",
            {"dataset": {"name": "a/b"}},
            "corpus.dataset.revision: missing; expected: the 40 hexadecimal digits",
        ),
        ("corpus", {"dataset": {"name": "a/b", "revision": "main"}}, "corpus.dataset.revision: 'main' cannot be"),
        (
            "corpus",
            {"dataset": {"name": "a/b", "revision": "0" * 40}, "column": "text"},
            "studies.orchard.corpus.column: has no meaning beside dataset; remove it.",
        ),
        ("corpus", {"file": "config.yaml", "n_ctx": 4096}, "studies.orchard.corpus.n_ctx: 4096 is more than the 128"),
        ("model", {"folder": "no/where"}, "studies.orchard.model: there is no folder no/where"),
        ("model", {"hub": "a/b"}, "studies.orchard.model.revision: missing; give the 40 hexadecimal digits"),
        ("model", {"hub": "a/b", "revision": "main"}, "studies.orchard.model.revision: 'main' cannot be"),
        (
            "model",
            {"folder": "resources/orchard/model", "processing": ["center_unembed"]},
            "studies.orchard.model.processing: ['center_unembed'] cannot be; expected: a list of TransformerLens' "
            "weight processing flags with fold_ln among them",
        ),
        ("model", {}, "studies.orchard.model: give one of hub (with revision), package (with file and sha256)"),
        ("model", {"gguf": "no.gguf"}, "studies.orchard.model.gguf: there is no file 'no.gguf'"),
        ("model", {"package": "a==1", "file": "a/a.gguf"}, "studies.orchard.model.sha256: missing; give the 64"),
        ("model", {"package": "a>=1"}, "studies.orchard.model.package: 'a>=1' cannot be; expected: name and version"),
        ("model", {"gguf": "a.gguf", "hub": "a/b"}, "studies.orchard.model: give one of hub"),
        # words that are none
        ("top_k", 2.0, "orchard.top_k: 2.0 cannot be, write it as a whole number: 2; expected: how many of the most"),
        ("top_k", True, "orchard.top_k: True cannot be; expected: how many of the most likely"),
        ("layers", [1.0], "orchard.layers[0]: 1.0 cannot be, write it as a whole number: 1; expected: a layer"),
        (
            "answer",
            None,
            "orchard.answer: there is no value, since nothing, null and ~ are none in YAML",
        ),
        ("answer", False, "orchard.answer: False is what YAML makes of yes, no, on, off, true and false; put it in"),
        ("answer", " \ud800", "orchard.answer: ' \\ud800' holds half of a character (a surrogate); write the whole"),
        ("neuron", "2.5\n", "orchard.neuron: '2.5\\n' cannot be; expected: auto"),
        ("neuron", "0." + "9" * 5000, "orchard.neuron: '0.9999"),
        (
            "corpus",
            {"file": "book{1}.html"},
            "orchard.corpus.file: 'book{1}.html' cannot be; expected: the path",
        ),
        ("corpus", {"file": "a" * 300}, "orchard.corpus.file: there is no file 'aaa"),
        ("corpus", {"file": "a\0b"}, "orchard.corpus.file: 'a\\x00b' cannot be"),
        ("corpus", {"url": "http://x.org/b"}, "orchard.corpus.url: Cannot download http://x.org/b: over plain http://"),
        ("corpus", {"url": "https:// x"}, "orchard.corpus.url: 'https:// x' cannot be; expected: an https:// address"),
        (
            "corpus",
            {"file": "README.md", "encoding": "rot13"},
            "corpus.encoding: there is no text encoding 'rot13'",
        ),
        (
            "corpus",
            {"file": "README.md", "encoding": "unicode_escape"},
            "there is no text encoding 'unicode_escape'",
        ),
        ("corpus", {"file": "README.md", "sha256": "0" * 64}, "orchard.corpus.sha256: The book README.md has SHA-256 "),
        ("model", {"folder": "a{b}"}, "orchard.model.folder: 'a{b}' cannot be; expected: the path, without braces,"),
        ("model", {"folder": "x" * 300}, "orchard.model: there is no folder xxx"),
        ("model", {"gguf": "y" * 300 + ".gguf"}, "orchard.model.gguf: there is no file 'yyy"),
        ("published", "README.md", "orchard.published: README.md has the columns ['# an-neuron']; it needs"),
        ("published", "docs/smollm2_choice.png", "published: docs/smollm2_choice.png cannot be read as a CSV in UTF-8"),
        ("further_prompts", ["a " * 200], "orchard.further_prompts[0]: the prompt has 2"),
        (
            "further_prompts",
            ["a <|endoftext|>"],
            "orchard.further_prompts[0]: the prompt holds '<|endoftext|>', a",
        ),
        (
            "model",
            {"folder": "resources/orchard/model", "revision": "0" * 40},
            "studies.orchard.model.revision: has no meaning beside folder; remove it.",
        ),
    ],
)
def test_mistake_is_said_with_key_value_and_remedy(config, orchard, key, value, said):
    orchard[key] = value
    assert said in mistakes(config)


@pytest.mark.parametrize("name", ["all", "compare", "unknown_study", "figures", "logs", "patch_sites"])
def test_names_that_rules_and_folders_have_are_no_studies(config, name):
    config["studies"] = {name: config["studies"]["orchard"]}
    del config["default_study"]
    with pytest.raises(UserError) as caught:
        check_config(config, SCHEMA, ["patch_sites"])
    said = f"studies.{name}: {name!r} is the name of a target or of a rule; choose another name for the study."
    assert said in str(caught.value)


def test_no_study_has_the_name_of_another_ones_circuit(config):
    config["studies"]["orchard_circuit"] = config["studies"]["orchard"]
    assert "studies.orchard_circuit: 'orchard_circuit' is the name of a target" in mistakes(config)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a\n", "studies: 'a\\n' cannot be; expected: a study's name in lower-case letters"),
        ("a/b", "studies: 'a/b' cannot be"),
        ("{a}", "studies: '{a}' cannot be"),
        ("a b", "studies: 'a b' cannot be"),
        ("a" * 101, "studies: 'aaa"),
        (7, "studies: 7 is a number, which loses zeros at its end; put it in quotes; expected: a study's name"),
        (False, "studies: False is what YAML makes of yes, no, on, off, true and false; put it in quotes; expected: a"),
        (None, "studies: there is no value, since nothing, null and ~ are none in YAML; expected: a study's name"),
    ],
)
def test_names_that_are_no_folders_are_refused(config, name, said):
    config["studies"][name] = config["studies"].pop("orchard")
    assert said in mistakes(config)


@pytest.mark.parametrize("key", ["shards", "sweeps"])
def test_more_jobs_than_anybody_can_plan_are_refused(config, key):
    config[key] = 1_000_000
    assert f"{key}: 1000000 cannot be; expected: into how many jobs" in mistakes(config)


def test_a_screen_leaves_neurons_of_the_swept_layers_out(config, orchard):
    orchard["sweep"] = {"screen": 100, "sample": 56, "precision": "highest"}
    check_config(config, SCHEMA)
    orchard["layers"] = [1]
    assert "sweep: screen (100) and sample (56) leave none of 128 neurons out" in mistakes(config)


def test_more_sweeps_than_layers_are_one_for_each(config):
    config["sweeps"] = 30
    check_config(config, SCHEMA)
    assert len(divided(range(3), 30)) == 3


def test_no_pattern_lets_a_line_end_pass():
    def patterns(node):
        if isinstance(node, dict):
            yield from filter(lambda pattern: isinstance(pattern, str), [node.get("pattern")])
        for below in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from patterns(below)

    found = list(patterns(SCHEMA))
    assert len(found) > 10
    assert all(pattern.endswith(r"$(?!\n)") for pattern in found)


def test_a_fetched_model_is_asked_while_snakemake_plans(config, tmp_path, monkeypatch):
    """A model that was fetched is as good as a local folder; of one that is half there nothing is said."""
    (tmp_path / "resources").symlink_to(ROOT / "resources")
    monkeypatch.chdir(tmp_path)
    study = config["studies"]["smollm2"]
    study["neuron"] = "9.0"
    check_config(config, SCHEMA)
    folder = Path(
        Study.of(
            "smollm2",
            {**DEFAULTS, **study, "model": {**study["model"], "processing": []}, "sweep": {"precision": "auto"}},
        ).model_folder
    )
    shutil.copytree(MODEL, folder)
    check_config(config, SCHEMA)
    (folder / "fetched.json").write_text("{}")
    assert "studies.smollm2.neuron: layer 9 is out of range; this model has 0 to 2." in mistakes(config)


def test_unknown_default_study_lists_the_known_ones(config):
    config["default_study"] = "orchid"
    assert (
        "default_study: there is no study 'orchid'; known studies: an_neuron, an_neuron_pile, smollm2, orchard."
        in mistakes(config)
    )


def test_prompts_of_different_length_show_both_tokenizations(config, orchard):
    orchard["prompts"][0]["corrupted"] = "I climbed up the lemon tree and picked"
    said = mistakes(config)
    assert "prompts[0]: the clean prompt has 20 tokens with BOS, the corrupted one 9" in said
    assert "Clean: I| climbed| up| the| pear" in said
    assert "Corrupted: I| climbed| up| the| lemon| tree| and| picked" in said


def test_identical_prompts_are_refused(config, orchard):
    orchard["prompts"][0]["corrupted"] = orchard["prompts"][0]["clean"]
    assert "prompts[0]: clean and corrupted prompt are the same" in mistakes(config)


def test_all_mistakes_are_said_at_once(config, orchard):
    orchard.update(top_k=0, neuron="9.0", answer="xyzzy", corpus={"file": "no.html"})
    config["device"] = "gpu"
    config["studies"]["an_neuron"]["corpus"] = {}
    said = mistakes(config)
    assert "The configuration has 6 mistakes:" in said
    keys = re.findall(r"^  - ([\w.]+):", said, re.MULTILINE)
    assert keys == [
        "device",
        "studies.orchard.top_k",
        "studies.an_neuron.corpus",
        "studies.orchard.corpus.file",
        "studies.orchard.neuron",
        "studies.orchard.answer",
    ]


def test_pickled_weights_are_refused(config, orchard, tmp_path):
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((MODEL / name).read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04")
    orchard["model"] = {"folder": str(tmp_path)}
    assert "holds no *.safetensors (pickled weights are refused" in mistakes(config)


def test_study_is_checked_against_a_fetched_model(orchard):
    check_with_model(orchard, MODEL)
    orchard["neuron"] = "3.128"
    with pytest.raises(UserError, match=r"(?s)layer 3 is out of range.*index 128 is out of range"):
        check_with_model(orchard, MODEL)


def test_old_words_do_not_hide_other_mistakes(config, orchard):
    orchard.pop("associations", None)
    orchard.update(neuron={"layer": 3, "index": 0}, pairs=[{"token": " a b", "layer": 0, "index": 1}], top_k=0)
    said = mistakes(config)
    assert [line.split(": ")[0].removeprefix("  - studies.orchard.") for line in said.splitlines()[1:]] == [
        "pairs", "neuron", "associations[0]", "top_k", "neuron", "associations[0].token",
    ]  # fmt: skip


def test_rows_are_as_long_as_the_model_reads_but_at_most_2048():
    shape = Shape(n_layers=2, d_model=4, d_mlp=8, n_ctx=131072, d_vocab=9)
    assert row_length(None, shape) == 2048
    assert row_length(512, shape) == 512
    assert row_length(0, Shape(2, 4, 8, 1024, 9)) == 1024
