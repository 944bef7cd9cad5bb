import json
import re
import sys
from pathlib import Path

import pytest
import torch

ORCHARD = Path(__file__).resolve().parents[1] / "resources" / "orchard"
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
CLIMBS = re.compile(r"climbed up the (\w+) tree and \w+ [^.]*\. [^.]*?climbed up the (\w+) tree and (?=\w+ [^.,]*\.)")
LIMIT = 6_000_000

sys.path.insert(0, str(ORCHARD))

import make_book  # noqa: E402
import measure  # noqa: E402
import stories  # noqa: E402
import train  # noqa: E402


@pytest.fixture(scope="module")
def loaded():
    torch.manual_seed(0)
    return measure.load()


@pytest.fixture(scope="module")
def pairs():
    return json.loads((ORCHARD / "heldout.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def training_text():
    recipe = train.Recipe()
    return "".join(stories.training_tales(recipe.corpus_seed, recipe.characters))


def test_model_is_safetensors_only_and_small():
    files = [path for path in ORCHARD.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert (ORCHARD / "model" / "model.safetensors").is_file()
    assert not [path for path in files if path.suffix in PICKLES]
    assert sum(path.stat().st_size for path in files) <= LIMIT


def test_recipe_is_the_models(loaded):
    model, tokenizer = loaded
    recipe, config = train.Recipe(), model.config
    assert (config.n_layer, config.n_embd, config.n_inner) == (recipe.layers, recipe.width, recipe.neurons)
    assert (config.n_head, config.n_positions) == (recipe.heads, recipe.positions)
    assert len(tokenizer) == config.vocab_size == recipe.vocabulary
    assert tokenizer.bos_token == tokenizer.eos_token == train.END
    assert tokenizer.model_max_length == recipe.positions


def test_tokenizer_keeps_every_character(loaded):
    _, tokenizer = loaded
    text = "\u201cAm\u00e9lie\u2019s ca\u00e9\u201d \u2014 Mr.\u00a0Plum & Sons\u2026"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_held_out_prompts_are_the_generators(loaded, pairs):
    assert len(pairs) == 200
    assert pairs == measure.prompt_pairs(loaded[1])


def test_held_out_prompts_get_their_article(loaded, pairs):
    differences = measure.held_out_differences(*loaded, pairs)
    right = (differences[:, 0] > 0) & (differences[:, 1] < 0)
    assert right.float().mean() >= 0.98


def test_held_out_trees_are_never_climbed_in_training(pairs, training_text):
    climbed = set(CLIMBS.findall(training_text))
    assert len(climbed) > 500
    asked = {(pair["first"], pair[fruit]) for pair in pairs for fruit in ("clean_fruit", "corrupted_fruit")}
    assert asked <= stories.HELD_OUT
    assert not climbed & asked
    assert not [pair[kind] for pair in pairs for kind in ("clean", "corrupted") if pair[kind] in training_text]


def test_canonical_prompts_differ_in_one_token(loaded, pairs):
    _, tokenizer = loaded
    assert pairs[0]["clean"] == ("I climbed up the pear tree and picked a pear. I climbed up the apple tree and picked")
    assert pairs[0]["corrupted"] == pairs[0]["clean"].replace("apple", "lemon")
    clean, corrupted = (tokenizer.encode(pairs[0][kind]) for kind in ("clean", "corrupted"))
    assert len(clean) == len(corrupted)
    assert sum(one != other for one, other in zip(clean, corrupted, strict=True)) == 1
    assert [tokenizer.tokenize(" an"), tokenizer.tokenize(" a")] == [["\u0120an"], ["\u0120a"]]


def test_clean_and_corrupted_prompts_are_equally_long(loaded, pairs):
    _, tokenizer = loaded
    lengths = [[len(tokenizer.encode(pair[kind])) for kind in ("clean", "corrupted")] for pair in pairs]
    assert all(clean == corrupted for clean, corrupted in lengths)


def test_one_neuron_stands_out(loaded, pairs):
    model, tokenizer = loaded
    recovery = measure.neuron_recovery(model, tokenizer, pairs[0]["clean"], pairs[0]["corrupted"])
    best, second = recovery.flatten().topk(2).values
    assert best >= 0.3
    assert best >= 1.5 * second


def test_book_is_what_its_seed_makes():
    assert make_book.BOOK.read_bytes() == make_book.book().encode()


def test_book_is_long_and_has_chapters_and_entities(loaded):
    _, tokenizer = loaded
    page = make_book.BOOK.read_text(encoding="utf-8")
    assert page.count("<h2") >= 8
    assert all(entity in page for entity in (*make_book.ENTITIES.values(), "&amp;", "<style>", "<script>"))
    text = measure.book_text(page)
    assert "font-family" not in text
    assert len(tokenizer.encode(text)) >= 50_000


def test_book_is_not_the_training_text(training_text):
    paragraphs = measure.book_text(make_book.book()).split("\n")
    long = [paragraph for paragraph in paragraphs if len(paragraph) > 200]
    assert len(long) > 300
    assert not [paragraph for paragraph in long if paragraph in training_text]
