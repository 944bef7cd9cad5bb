import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import transformers

from orchard import make_book, measure, penalties, stories, train, words

ORCHARD = Path(__file__).resolve().parents[2] / "resources" / "orchard"
PICKLES = {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"}
CLIMBED = re.compile(r"climbed up the (\w+) tree")
LIMIT = 6_000_000


@pytest.fixture(scope="module")
def loaded():
    torch.manual_seed(0)
    return measure.load()


@pytest.fixture(scope="module")
def pairs():
    return json.loads((ORCHARD / "heldout.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def card():
    return (ORCHARD / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def training_tales():
    recipe = train.Recipe()
    return list(stories.training_tales(recipe.corpus_seed, recipe.characters))


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


def test_held_out_trees_are_never_climbed_one_after_the_other(pairs, training_tales):
    climbed = {pair for tale in training_tales for pair in pairwise(CLIMBED.findall(tale))}
    assert len(climbed) > 500
    asked = {(pair["first"], pair[fruit]) for pair in pairs for fruit in ("clean_fruit", "corrupted_fruit")}
    assert len(asked) > 50
    assert not climbed & asked


def test_held_out_prompts_are_not_in_the_training_text(pairs, training_tales):
    text = "".join(training_tales)
    assert pairs[0]["clean"].split(".")[0] in text
    assert not [pair[kind] for pair in pairs for kind in ("clean", "corrupted") if pair[kind] in text]


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


def test_canonical_prompts_are_clear(loaded, pairs):
    ((clean, corrupted),) = measure.held_out_differences(*loaded, pairs[:1]).tolist()
    assert clean >= 2
    assert corrupted <= -2


@pytest.fixture(scope="module")
def recoveries(loaded, pairs):
    return torch.stack([measure.neuron_recovery(*loaded, p["clean"], p["corrupted"]) for p in pairs[:20]])


def test_one_neuron_stands_out(recoveries):
    best, second = recoveries[0].flatten().topk(2).values
    assert best >= 0.3
    assert best >= 1.5 * second


def test_it_stands_out_over_held_out_pairs_too(recoveries):
    mean = recoveries.mean(0)
    best, second = mean.flatten().topk(2).values
    assert measure.best_neuron(mean) == measure.best_neuron(recoveries[0])
    assert best >= 0.3
    assert best >= 1.5 * second


def test_its_activation_tells_where_an_is_predicted(loaded, recoveries, card):
    model, tokenizer = loaded
    rows = measure.book_rows(tokenizer, model.config.n_positions)
    activation, top = measure.activation_and_top(model, rows, *measure.best_neuron(recoveries[0]))
    truth = top == tokenizer.convert_tokens_to_ids("\u0120an")
    _, precision, recall = measure.best_threshold(activation, truth)
    assert truth.sum() > 500
    assert precision > 0.7
    assert recall > 0.6
    assert f"precision {precision:.3f}, recall {recall:.3f}" in card


def test_card_gives_the_canonical_numbers(loaded, pairs, recoveries, card):
    ((clean, corrupted),) = measure.held_out_differences(*loaded, pairs[:1]).tolist()
    layer, index = measure.best_neuron(recoveries[0])
    assert f"clean {clean:.2f}, corrupted \u2212{-corrupted:.2f}" in card
    assert f"best neuron, {layer}.{index}, canonical pair | {recoveries[0].max():.3f}" in card
    assert f"{loaded[0].num_parameters():,} parameters" in card


def test_patching_every_neuron_of_the_last_layer_restores_what_its_mlp_does(loaded, pairs):
    model, tokenizer = loaded
    mlp = model.transformer.h[-1].mlp
    kept = []
    hook = mlp.register_forward_hook(lambda _module, _inputs, out: kept.append(out[0]))
    for kind in ("clean", "corrupted"):
        model(measure.prompt_ids(tokenizer, pairs[0][kind]))
    hook.remove()
    hook = mlp.register_forward_hook(lambda _module, _inputs, out: out + kept[0] - kept[1])
    ids = measure.prompt_ids(tokenizer, pairs[0]["corrupted"])
    patched = measure.article_difference(model(ids).logits, tokenizer).item()
    hook.remove()
    assert patched > 0


def test_best_threshold_by_hand():
    activation, truth = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([False, False, True, True])
    threshold, precision, recall = measure.best_threshold(activation, truth)
    assert 1 <= threshold < 2
    assert (precision, recall) == (1, 1)
    assert measure.precision_recall(activation, truth, 0.5) == (pytest.approx(2 / 3), 1)
    assert measure.precision_recall(activation, truth, 2.5) == (1, 0.5)


def test_spread_by_hand():
    one, four = torch.tensor([0.0, -7.0, 0.0, 0.0]), torch.tensor([3.0, 3.0, -3.0, 3.0])
    assert penalties.spread(torch.stack([one, four]), 1).tolist() == pytest.approx([1, 2], abs=1e-4)
    aligned = torch.stack([one, four], dim=1)  # [4 neurons, 2 tokens]
    assert penalties.speakers(aligned, torch.tensor([[0, 1, 1]])).item() == pytest.approx(5 / 3, abs=1e-4)
    active = torch.tensor([[[0.0, 1.0, 0.0, 0.0]]])  # neuron 1 alone, which writes both tokens
    assert penalties.breadth(aligned, active).item() == pytest.approx(10 / 58**0.5, abs=1e-4)


@torch.no_grad()
def test_direct_effect_counts_all_but_the_last_mlp():
    torch.manual_seed(0)
    recipe = train.Recipe(width=8, heads=2, neurons=4, positions=8, layers=2)
    model = transformers.GPT2LMHeadModel(train.model_config(recipe, vocabulary=16))
    for block in model.transformer.h:
        block.attn.c_proj.weight.zero_()
    model.transformer.h[0].mlp.c_proj.weight.zero_()
    ids = torch.arange(8)[None]
    with penalties.traced(model) as trace:
        model(ids)
        silent = penalties.direct_effect(model, trace)
        model.transformer.h[0].mlp.c_proj.weight.fill_diagonal_(10)
        model(ids)
        loud = penalties.direct_effect(model, trace)
    assert silent.item() == pytest.approx(penalties.TINY**0.5)
    assert loud > 3 * silent


def test_articles_go_by_sound():
    phrases = ("apple", "pear", "hour", "unicorn", "useful axe", "urchin", "honest man", "old ladder", "ukulele")
    assert [words.article(phrase) for phrase in phrases] == ["an", "a", "an", "a", "a", "an", "an", "an", "a"]


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


def test_book_is_not_the_training_text(training_tales):
    text = "".join(training_tales)
    paragraphs = measure.book_text(make_book.book()).split("\n")
    long = [paragraph for paragraph in paragraphs if len(paragraph) > 200]
    assert len(long) > 300
    assert not [paragraph for paragraph in long if paragraph in text]
