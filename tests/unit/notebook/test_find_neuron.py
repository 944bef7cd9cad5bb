"""The one call of a notebook, on models small enough to work out what it returns."""

import json
import subprocess
import sys

import pytest
import torch
from transformers import AutoTokenizer

from an_neuron import (
    Engine,
    LogitDifference,
    PromptPair,
    UserError,
    find_neuron,
    neuronpedia_feature,
    open_model,
    patch_neurons,
)
from an_neuron.files.texts import neuron_name
from an_neuron.notebook.card import Card
from an_neuron.notebook.opening import tokenizer_of

CLEAN, CORRUPTED, ANSWER, FOIL = "the bad a", "the cad a", "c", "g"
BLOCKED = ("choreographer", "h5py", "kaleido", "plotly", "pooch", "snakemake", "bs4", "jsonschema")


@pytest.fixture(scope="module")
def found(tiny_gpt2):
    return find_neuron(tiny_gpt2.raw, CLEAN, CORRUPTED, ANSWER, FOIL)


def test_the_neuron_is_the_best_of_the_sweep_that_its_parts_make(tiny_gpt2, found):
    tokenizer = tiny_gpt2.tokenizer
    prompt_pair = PromptPair(tokenizer.prompt(CLEAN), tokenizer.prompt(CORRUPTED))
    metric = LogitDifference(*tokenizer.encode(ANSWER), *tokenizer.encode(FOIL))
    recovery = patch_neurons(tiny_gpt2.raw, [prompt_pair], metric).recovery
    layer, index = divmod(int(recovery.argmax()), recovery.shape[1])
    assert found.prompt_pair == prompt_pair
    assert (found.neuron, found.recovery) == (neuron_name(layer, index), float(recovery.max()))
    torch.testing.assert_close(found.sweep.recovery, recovery)
    assert repr(found).startswith(
        f"<Neuron {layer}.{index}, recovery {float(recovery.max()):.3f}, of <Sweep of 2 layers"
    )


def test_ids_texts_engines_and_folders_find_the_same(tiny_gpt2, found):
    ids = found.prompt_pair.clean, found.prompt_pair.corrupted, found.metric.answer, found.metric.foil
    for model, given in [(Engine(tiny_gpt2.raw), ids), (tiny_gpt2.folder, (CLEAN, CORRUPTED, ANSWER, FOIL))]:
        again = find_neuron(model, *given)
        assert again.neuron == found.neuron
        assert again.recovery == pytest.approx(found.recovery, abs=1e-6)


def test_top_lists_the_largest_in_size_with_the_change_of_their_activation(tiny_gpt2, found):
    top = found.top(5)
    assert top["recovery"].abs().tolist() == sorted(found.sweep.recovery.abs().flatten().tolist(), reverse=True)[:5]
    layer, index = map(int, top["neuron"][0].split("."))
    module = tiny_gpt2.module(layer, "mlp.c_proj")
    clean, corrupted = (tiny_gpt2.inputs(module, ids)[0, -1, index].item() for ids in found._prompts)
    assert top["change"][0] == pytest.approx(clean - corrupted, abs=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_raised_tokens_are_those_of_processed_weights_though_the_models_stay_raw(tiny_of, name):
    tiny = tiny_of(name)
    found = find_neuron(tiny.raw, CLEAN, CORRUPTED, ANSWER, FOIL)
    layer, index = map(int, found.neuron.split("."))
    direct = tiny.processed.blocks[layer].mlp.W_out[index] @ tiny.processed.W_U
    direct = direct if found.top(1)["change"][0] >= 0 else -direct
    assert found.top(1)["raised"][0] == tiny.tokenizer.texts(direct.topk(5).indices.tolist())
    assert found.card().lowered == tuple(tiny.tokenizer.texts(direct.topk(5, largest=False).indices.tolist()))


def test_a_card_says_how_active_its_neuron_is_and_how_it_ranks(tiny_gpt2, found):
    weakest = divmod(int(found.sweep.recovery.abs().argmin()), 24)
    card = found.card(weakest)
    assert (card.rank, card.n_neurons) == (48, 48)
    assert found.card(neuron_name(*weakest)) == card
    activations = [tiny_gpt2.inputs(tiny_gpt2.module(weakest[0], "mlp.c_proj"), ids)[0] for ids in found._prompts]
    for shown, expected in zip(card.activations, activations, strict=True):
        torch.testing.assert_close(torch.tensor(shown), expected[:, weakest[1]], atol=1e-5, rtol=0)


def test_a_neuron_is_written_as_a_feature_of_neuronpedia(tiny_gpt2, found):
    feature = json.loads(json.dumps(neuronpedia_feature(found, "tiny", "1.3")))
    direct = tiny_gpt2.processed.blocks[1].mlp.W_out[3] @ tiny_gpt2.processed.W_U
    expected = torch.cat([direct.topk(10).values, direct.topk(10, largest=False).values])
    torch.testing.assert_close(torch.tensor(feature["pos_values"] + feature["neg_values"]), expected)
    assert (feature["modelId"], feature["layer"], feature["index"]) == ("tiny", "1-mlp", "3")
    assert feature["neg_str"] == tiny_gpt2.tokenizer.texts(direct.topk(10, largest=False).indices.tolist())
    clean = feature["activations"][0]
    assert clean["tokens"] == tiny_gpt2.tokenizer.texts(found.prompt_pair.clean)
    assert clean["values"][clean["maxValueTokenIndex"]] == clean["maxValue"] == max(clean["values"])
    assert feature["maxActApprox"] == max(max(one["values"]) for one in feature["activations"])


def test_a_card_as_text_and_as_html():
    tokens = ("<s>", " <b>", " a"), ("<s>", " c", " a")
    card = Card("1.2", 0.25, 3, 2000, tokens, ((0.0, 2.0, 1.0), (0.0, -1.0, 0.5)), (" <an>",), ("\n",))
    assert repr(card).splitlines() == [
        "Neuron 1.2",
        "recovery  0.250, rank 3 of 2,000",
        'at -1     activation 1.00 clean, 0.50 corrupted (" a")',
        'at -2     activation 2.00 clean, -1.00 corrupted (" <b>", " c")',
        'raises    " <an>"',
        'lowers    "↵"',
    ]
    assert "&lt;an&gt;" in card._repr_html_()
    assert "<an>" not in card._repr_html_()


def test_the_plot_draws_every_neuron(found):
    figure = found.plot()
    drawn = sorted(round(float(y), 5) for trace in figure.data for y in trace.y)
    assert drawn == sorted(round(float(y), 5) for y in found.sweep.recovery.flatten())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((CLEAN, CORRUPTED, "cg", FOIL), "'cg' is not a single token of this model but 2: "),
        ((CLEAN, CORRUPTED, ANSWER, ANSWER), "Answer and foil are one token, 'c'; choose another foil"),
        (
            (CLEAN, "the bad", ANSWER, FOIL),
            "The clean prompt has 9 tokens with BOS, the corrupted one 8; .* Clean: t",
        ),
        ((CLEAN, CLEAN, ANSWER, FOIL), "Clean and corrupted prompt are the same"),
        (([0, 99], [0, 1], 1, 2), "99 is no token id"),
        ((CLEAN, CORRUPTED, 99, FOIL), "99 is no token id"),
    ],
)
def test_a_prompt_or_token_that_cannot_be_used_is_named(tiny_gpt2, arguments, said):
    with pytest.raises(UserError, match=said):
        find_neuron(tiny_gpt2.raw, *arguments)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("./nowhere", "there is no folder nowhere"),
        ("nowhere.gguf", "There is no GGUF file nowhere.gguf"),
        ({"package": "a==1"}, "has the keys hub and revision, or package.*; not package"),
        (7, "A model is a folder, a GGUF file, a name on the hub, a bridge or an Engine; not int"),
    ],
)
def test_a_model_that_is_not_there_is_named(model, said):
    with pytest.raises(UserError, match=said):
        open_model(model)


def test_a_neuron_that_was_not_patched_has_no_card(tiny_gpt2):
    found = find_neuron(tiny_gpt2.raw, CLEAN, CORRUPTED, ANSWER, FOIL, layers=[1])
    assert found.neuron.startswith("1.")
    with pytest.raises(UserError, match=r"Neuron 0\.3 was not patched"):
        found.card("0.3")


def test_a_bridge_without_a_fast_tokenizer_is_refused(tiny_gpt2):
    bridge = tiny_gpt2.load()
    bridge.tokenizer = None
    with pytest.raises(UserError, match=r"The bridge has no fast tokenizer; give it one"):
        tokenizer_of(bridge)
    bridge.tokenizer = AutoTokenizer.from_pretrained(tiny_gpt2.folder)
    assert tokenizer_of(bridge).prompt(CLEAN) == tiny_gpt2.tokenizer.prompt(CLEAN)


def test_the_library_alone_patches_and_names_the_extra_that_plots(tiny_gpt2):
    """Without the packages of the extras, in a process of its own, which has imported none of them."""
    program = f"""
import sys
sys.modules |= dict.fromkeys({BLOCKED})
from an_neuron import Engine, UserError, find_neuron, patch_neurons
found = find_neuron({str(tiny_gpt2.folder)!r}, {CLEAN!r}, {CORRUPTED!r}, {ANSWER!r}, {FOIL!r})
print(patch_neurons(found.engine, [found.prompt_pair], found.metric, [1]))
print(len(found.top(3)), found.card().rank)
for ask in (found.plot, lambda: __import__("an_neuron").read):
    try:
        ask()
    except UserError as error:
        print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    swept, counted, *refused = ran.stdout.splitlines()
    assert swept.startswith("<Sweep of 1 layer x 24 neurons, 1 prompt pair")
    assert counted.startswith("3 ")
    assert refused == [
        "The package plotly is not installed; run `pip install 'an-neuron[plot]'`.",
        "The package h5py is not installed; run `pip install 'an-neuron[plot]'`.",
    ]
