"""Every architecture's sweeps, held against one ordinary forward a patch on a model that the library never touched.

By default those of `REPRESENTATIVE` run, each with two prompt pairs; `make architectures` runs all, with five, and
writes `docs/architectures.md`.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import architectures
import pytest
import torch
from architecture_page import NONE, PAGE, Row, all_names, cell, lines_of_page, page
from conftest import save_tokenizer
from independent_loop import INPUT_OF_BLOCK, IndependentLoop, changing
from slow_reference import HOOKS, at_pattern, one_forward_per_patch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers import GPT2Config, PreTrainedModel

from an_neuron.errors import UserError
from an_neuron.model.loading import load_model
from an_neuron.model.places import Place
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweeps import SITES, patch_heads, patch_neurons, patch_sites
from an_neuron.prompts.pairs import PromptPair, first_difference

BOUND = 1e-5
"""Of the largest of 1, both prompts' logit differences and the effects' spread; rounding makes some 1e-6."""
LEAST_EFFECT = 1e-3
HEAD_SITES = ("q", "k", "v", "z", "pattern")
NEURONS, NEURONS_AT_POSITIONS = 24, 12
LONGER = {"dynamic rope", "longrope", "yarn rope", "llama3 rope"}  # whose prompts should cross the original length
PROMPT_PAIRS = {
    "in the middle": PromptPair([0, 3, 4, 5, 6, 8, 9, 11, 12, 13], [0, 3, 4, 12, 6, 8, 9, 11, 12, 13]),
    "at several": PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 7, 12, 6, 2, 9]),
    "first after BOS": PromptPair([0, 3, 4, 5, 6], [0, 9, 4, 5, 6]),
    "last": PromptPair([0, 3, 4, 5, 6], [0, 3, 4, 5, 10]),
    "at BOS": PromptPair([0, 3, 4, 5], [1, 3, 4, 5]),
}
IDS = torch.tensor([[0, 3, 4, 5, 6, 8, 9]])
OTHERS = [name for name in PROMPT_PAIRS if name != "in the middle"]

# What each is there for. Its place decides which prompt pair it gets beside the first: Llama 4 needs the one that
# differs at the last token, whose prompts begin in another chunk.
REPRESENTATIVE = {
    "GPT2LMHeadModel": "joint q, k and v in a Conv1D",
    "GPTNeoXForCausalLM": "q, k and v interleaved by head, parallel blocks",
    "LlamaForCausalLM": "grouped keys and values",
    "OPTForCausalLM": "rows and positions as one axis",
    "BloomForCausalLM": "attention of its own, alibi",
    "FalconForCausalLM": "attention of its own, an MLP's output that is added to in place",
    "GPTJForCausalLM": "attention of its own, rotary, parallel",
    "GPTNeoForCausalLM": "attention of its own, local layers",
    "GPTBigCodeForCausalLM": "one head of keys in a joint projection",
    "XGLMForCausalLM": "a pattern with rows and heads as one axis",
    "CohereForCausalLM": "parallel blocks, scaled logits",
    "Gemma2ForCausalLM": "norms after, soft caps, sliding window",
    "Gemma4ForCausalLM": "inputs of each layer, a scale of each layer",
    "GraniteForCausalLM": "scaled residuals",
    "Olmo2ForCausalLM": "norms after alone",
    "Phi3ForCausalLM": "joint q, k and v, joint gate and up",
    "Qwen3ForCausalLM": "norms of q and k",
    "GptOssForCausalLM": "sinks, experts",
    "Llama4ForCausalLM": "attention in chunks, a dense layer beside experts",
    "MixtralForCausalLM": "experts",
    "DeepseekV3ForCausalLM": "attention through low ranks, a dense layer beside experts",
    "DeepseekV4ForCausalLM": "several residual streams",
    "Qwen3NextForCausalLM": "linear attention, gated q",
    "FalconH1ForCausalLM": "state space beside attention",
    "JambaForCausalLM": "state space between attention",
    "MambaForCausalLM": "state space alone",
    "RwkvForCausalLM": "a state handed on",
    "OpenAIGPTLMHeadModel": "no final norm",
    "HrmTextForCausalLM": "refused: no blocks",
    "LlamaForCausalLM, dynamic rope": "frequencies that depend on a prompt's length",
    "LlamaForCausalLM, one head of keys": "one head of keys",
    "Phi3ForCausalLM, longrope": "frequencies that depend on a prompt's length",
    "MistralForCausalLM, sliding window": "sliding window in all layers",
    "GPT2LMHeadModel, scaled by layer": "scaled scores",
    "GPT2LMHeadModel, unscaled": "refused: the bridge computes something else",
    "GPTNeoXForCausalLM, no biases": "refused: no bridge",
    "OPTForCausalLM, norms after": "refused: a bridge that cannot run",
    "OPTForCausalLM, narrow embeddings": "projections around the blocks",
    "Gemma2ForCausalLM, low soft caps": "soft caps that matter",
    "GraniteForCausalLM, multipliers": "scaled embeddings, scores, residuals and logits",
    "BloomForCausalLM, residual after norm": "a residual stream that starts behind the norm",
    "Gemma4ForCausalLM, shared keys": "keys and values of another layer",
    "Qwen2MoeForCausalLM, dense first": "a dense layer beside experts",
    "StableLmForCausalLM, parallel": "parallel blocks with norms of q and k by head",
}

# Why a model has no fast way, by what the library says of it; and why it is refused.
REASONS = {
    "does not take the attention": "attention is code of its own",
    "not every one of its blocks attends": "attention is code of its own, or there is none in some layers",
    "turns the final residual stream into logits": "a final step of its own",
    "has no ln_final": "no final norm, or one step more behind it",
    "hand on more than the residual stream": "blocks hand on more than the residual stream",
    "run behind shared keys and values, raise": "some layers keep another state than keys and values",
    "run behind shared keys and values, give": "attention depends on where a prompt begins",
    "has no blocks": "refused: TransformerLens names no blocks",
    "differ by": "refused: TransformerLens' bridge computes something else",
    "cannot run": "refused: TransformerLens' bridge cannot run",
    "cannot be loaded": "refused: TransformerLens makes no bridge of it",
}
NO_PATTERN = "pattern: TransformerLens' hook shows the same one, but cannot change it"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "name" in metafunc.fixturenames:
        names = all_names() if metafunc.config.getoption("all_architectures") else [*REPRESENTATIVE]
        metafunc.parametrize("name", names, scope="module")  # all tests of a name one after the other


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A folder with a tokenizer, and a configuration by which transformers finds it."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    GPT2Config(vocab_size=50, bos_token_id=0, eos_token_id=0).save_pretrained(folder)
    return folder


@pytest.fixture
def prompt_pairs(name, request) -> dict[str, PromptPair]:
    """All five prompt pairs, or by default the first and one of the others in turn, long where that matters."""
    chosen = [*PROMPT_PAIRS]
    if not request.config.getoption("all_architectures"):
        chosen = ["in the middle", OTHERS[[*REPRESENTATIVE].index(name) % len(OTHERS)]]
    pairs = {differing: PROMPT_PAIRS[differing] for differing in chosen}
    if change_of(name) in LONGER:
        pairs["in the middle"] = PromptPair(*([*ids, 14, 15, 16, 17] for ids in both(pairs["in the middle"])))
    return pairs


def change_of(name: str) -> str:
    """Return what a variant changes, as its name says."""
    return name.partition(", ")[2]


def both(prompt_pair: PromptPair) -> tuple[Sequence[int], Sequence[int]]:
    return prompt_pair.clean, prompt_pair.corrupted


def boot(name, tokenizer) -> TransformerBridge:
    model = architectures.tiny_model(name)
    return TransformerBridge.boot_transformers(str(tokenizer), hf_model=model, device="cpu")


@dataclass(frozen=True)
class Studied:
    """A name's model on the library: an engine, or the sentence with which it is refused."""

    name: str
    bridge: TransformerBridge | None
    engine: Engine | None
    refusal: str = ""

    @property
    def blocks(self) -> str:
        """Path of the blocks in the Hugging Face model."""
        return str(self.bridge.adapter.component_mapping["blocks"].name)


@pytest.fixture(scope="module")
def studied(name, tokenizer, tmp_path_factory) -> Studied:
    """The model of a name; whatever the library raises for it but a sentence fails the tests."""
    try:
        bridge = boot(name, tokenizer)
    except Exception:  # TransformerLens' own, of any kind: ours must say it in a sentence
        folder = tmp_path_factory.mktemp("refused")
        architectures.tiny_model(name).save_pretrained(folder)
        save_tokenizer(folder)
        with pytest.raises(UserError) as refused:
            load_model(folder)
        return Studied(name, None, None, str(refused.value))
    try:
        return Studied(name, bridge, Engine(bridge))
    except UserError as refusal:
        return Studied(name, bridge, None, str(refusal))


class Comparison:
    """A model's sweeps of one prompt pair, each held against the independent loop.

    Attributes
    ----------
    ways
        Of all sweeps.
    worst
        The largest difference, as a share of the size that the bound is a share of.
    effects
        The largest effect on the logit difference of each swept site's patches.
    """

    def __init__(self, studied: Studied, prompt_pair: PromptPair, bridge: TransformerBridge) -> None:
        self.loop = IndependentLoop(architectures.tiny_model(studied.name), studied.blocks, prompt_pair)
        self.engine, self.prompt_pair, self.bridge = studied.engine, prompt_pair, bridge
        self.arguments = self.engine, [prompt_pair], LogitDifference(self.loop.answer, self.loop.foil)
        self.layers = range(self.engine.n_layers)
        self.generator = torch.Generator().manual_seed(0)
        self.ways, self.worst, self.effects = set[str](), 0.0, dict[str, float]()

    def sites(self) -> None:
        sites, start = available(self.engine, SITES), first_difference(*both(self.prompt_pair))
        positions = range(max(0, start - 1), len(self.prompt_pair.clean))  # one of those that change nothing
        for site, sweep in patch_sites(*self.arguments, sites).items():
            expected = [self.loop.sites(layer, self._place(layer, site), positions) for layer in self.layers]
            self._hold(site, sweep, sweep.patched[0][:, positions.start :], expected)
            assert torch.equal(sweep.patched[0, :, :start], sweep.corrupted.expand(len(self.layers), start))

    def heads(self) -> None:
        sites = available(self.engine, HEAD_SITES)
        for site, sweep in patch_heads(*self.arguments, sites).items() if sites else ():
            if site != "pattern":
                expected = [self.loop.heads(layer, self._place(layer, site)) for layer in self.layers]
                self._hold(site, sweep, sweep.patched[0], expected)
            elif patching_the_pattern_does_something(self.bridge):
                self._hold(site, sweep, sweep.patched[0], list(self._patterns(sweep.patched.shape[-1])))

    def _patterns(self, n_heads: int) -> Iterator[Tensor]:
        loop = self.loop
        for layer in self.layers:
            which = self.bridge, self.prompt_pair, "pattern", layer
            yield one_forward_per_patch(*which, range(n_heads), at_pattern, loop.answer, loop.foil)

    def neurons(self) -> None:
        for layers in layers_of_equal_width(self.engine):
            sweep = patch_neurons(*self.arguments, layers)
            chosen = self._sample(sweep.patched.shape[-1], NEURONS)
            expected = [self.loop.neurons(layer, self._place(layer, "post"), chosen) for layer in layers]
            self._hold("post", sweep, sweep.patched[0][:, chosen], expected)
            self._neurons_at_positions(layers)

    def _neurons_at_positions(self, layers: Sequence[int]) -> None:
        sweep = patch_neurons(*self.arguments, layers, per_position=True)
        start = first_difference(*both(self.prompt_pair))
        width, length = sweep.patched.shape[-2:]
        neurons, steps = (self._sample(number, NEURONS_AT_POSITIONS) for number in (width, 1000))
        places = [(neuron, start + step % (length - start)) for neuron, step in zip(neurons, steps, strict=True)]
        expected = [self.loop.neurons_at(layer, self._place(layer, "post"), places) for layer in layers]
        found = torch.stack([sweep.patched[0, :, neuron, pos] for neuron, pos in places], dim=-1)
        self._hold("post at positions", sweep, found, expected)

    def _sample(self, number: int, size: int) -> list[int]:
        return torch.randperm(number, generator=self.generator)[:size].tolist()

    def _place(self, layer: int, site: str) -> Place:
        return INPUT_OF_BLOCK if site == "resid_pre" else self.engine.ordinary.places[layer][site]

    def _hold(self, site: str, sweep: Sweep, found: Tensor, expected: Sequence[Tensor]) -> None:
        """Compare values with the loop's, [layer, item], and both prompts'."""
        values, ends = torch.stack([*expected]), torch.tensor([self.loop.clean, self.loop.corrupted])
        spread = float((values - self.loop.corrupted).abs().max())
        size = max(1.0, float(ends.abs().max()), spread)
        off = torch.cat([(found - values).flatten(), sweep.clean - ends[:1], sweep.corrupted - ends[1:]])
        worst = float(off.abs().max()) / size
        assert found.dtype == torch.float32
        assert worst <= BOUND, f"{site} is {worst:.1e} off"
        self.ways.add(sweep.way)
        self.worst, self.effects[site] = max(self.worst, worst), max(spread, self.effects.get(site, 0.0))


def available(engine: Engine, sites: Sequence[str]) -> list[str]:
    return [site for site in sites if site == "resid_pre" or engine.ordinary.has_everywhere(site)]


def layers_with_neurons(engine: Engine) -> list[int]:
    return [layer for layer, places in enumerate(engine.ordinary.places) if "post" in places]


def layers_of_equal_width(engine: Engine) -> list[list[int]]:
    groups: dict[int | None, list[int]] = {}
    for layer in layers_with_neurons(engine):
        groups.setdefault(engine.ordinary.n_items(layer, "post"), []).append(layer)
    return [*groups.values()]


def patching_the_pattern_does_something(bridge: TransformerBridge) -> bool:
    """Return whether the bridge's hook of the pattern changes what follows.

    In some attention it only shows the pattern. There the pattern's patches are not compared: what holds them is that
    the hook shows the pattern which the library sees, and the library's own spot checks.
    """
    ids = torch.tensor([PROMPT_PAIRS["in the middle"].clean[:5]])
    names = [f"blocks.{layer}.{HOOKS['pattern']}" for layer in range(len(bridge.blocks))]
    hooks = [(name, lambda pattern, hook: torch.zeros_like(pattern)) for name in names]
    with torch.inference_mode(), warnings.catch_warnings(action="ignore"):
        return not torch.equal(bridge.run_with_hooks(ids, fwd_hooks=hooks), bridge(ids))


def reason(said: str) -> str:
    """Return the words of the page for a sentence of the library."""
    found = [words for part, words in REASONS.items() if part in said]
    assert found, f"a reason that the page has no words for: {said}"
    return found[0]


def assert_refused_where_nothing_is_there(engine: Engine) -> None:
    """Sites and neurons that a layer lacks are refused with a sentence, never with another exception."""
    pair, metric = [PROMPT_PAIRS["last"]], LogitDifference(3, 4)
    for patch, sites in ((patch_sites, SITES), (patch_heads, HEAD_SITES)):
        for site in {*sites} - {*available(engine, sites)}:
            with pytest.raises(UserError, match=f"has no site '{site}' to patch in every layer"):
                patch(engine, pair, metric, [site])
    for layer in {*range(engine.n_layers)} - {*layers_with_neurons(engine)}:
        with pytest.raises(UserError, match=f"Layer {layer} of this model .* has no neurons of one MLP"):
            patch_neurons(engine, pair, metric, [layer])


def neurons_cell(engine: Engine) -> str:
    found = layers_with_neurons(engine)
    return cell(found, range(engine.n_layers)).replace("exact:", f"exact: layer{'s' * (len(found) > 1)}")


def row_of(name: str, engine: Engine, said: str, ways: set[str], pattern: bool) -> Row:
    heads = available(engine, HEAD_SITES)
    remarks = [reason(said)] if "ordinary" in ways else []
    remarks += [NO_PATTERN] if "pattern" in heads and not pattern else []
    cells = cell(available(engine, SITES), SITES), cell(heads, HEAD_SITES), neurons_cell(engine)
    return Row(name, " and ".join(sorted(ways)), *cells, "; ".join(remarks))


def test_sweeps_equal_one_ordinary_forward_a_patch(studied, tokenizer, prompt_pairs, said, record_property, request):
    if studied.engine is None:
        row, worst = Row(studied.name, NONE, remark=reason(studied.refusal)), 0.0
    else:
        comparisons = [compared(studied, pair, tokenizer) for pair in prompt_pairs.values()]
        effects = {site: max(each.effects[site] for each in comparisons) for site in comparisons[0].effects}
        assert min(effects.values()) > LEAST_EFFECT, f"patches that do nothing: {effects}"
        assert_refused_where_nothing_is_there(studied.engine)
        worst = max(each.worst for each in comparisons)
        row = row_of(studied.name, studied.engine, said(), comparisons[0].ways, "pattern" in effects)
    record_property("line", row.line())
    record_property("difference", worst)
    if not request.config.getoption("all_architectures"):
        assert lines_of_page()[studied.name] == row.line(), "`make architectures` writes the page"


@pytest.fixture
def said(studied, caplog):
    """A function that returns what the library has said of the model; of its engine, before the test began."""
    return lambda: "".join(record.getMessage() for when in ("setup", "call") for record in caplog.get_records(when))


def compared(studied: Studied, prompt_pair: PromptPair, tokenizer) -> Comparison:
    """Return a comparison; a bridge that remembers the longest prompt so far is made anew for it."""
    bridge = boot(studied.name, tokenizer) if change_of(studied.name) in LONGER else studied.bridge
    comparison = Comparison(studied, prompt_pair, bridge)
    comparison.sites()
    comparison.heads()
    comparison.neurons()
    return comparison


def test_places_are_transformer_lens_hooks(studied):
    """What the library's places see, on a model that no bridge was made of, is what the hooks of their names see."""
    if studied.engine is None:
        return
    model, bridge = architectures.tiny_model(studied.name), studied.bridge
    blocks = model.get_submodule(studied.blocks)
    for layer, places in enumerate(studied.engine.ordinary.places):
        for site in HOOKS.keys() & {"resid_pre", *places}:
            place = places.get(site, INPUT_OF_BLOCK)
            hook = f"blocks.{layer}.{HOOKS[site]}"
            if hook not in bridge.hook_dict:
                assert (architectures.architecture_of(studied.name), site) == ("DeepseekV4ForCausalLM", "resid_pre")
                continue  # TransformerLens has no such hook for its several streams
            here = pattern_seen(studied.engine, layer) if site == "pattern" else seen(model, blocks[layer], place)
            assert_same(here * multiplier(model, site), seen_by_hook(bridge, hook), hook)


def seen_by_hook(bridge: TransformerBridge, name: str) -> Tensor:
    kept: list[Tensor] = []
    with torch.inference_mode():
        bridge.run_with_hooks(IDS, fwd_hooks=[(name, lambda found, hook: kept.append(found.clone()))])
    return kept[0]


def seen(model: PreTrainedModel, block: nn.Module, place: Place) -> Tensor:
    """Return what goes through a place in one ordinary forward, the heads' columns in the order of the heads."""
    kept: list[Tensor] = []
    changing_nothing = changing(block.get_submodule(place.path), place.end, lambda found: kept.append(found.clone()))
    with torch.inference_mode(), changing_nothing:
        model(IDS, use_cache=False)
    return kept[0] if place.columns is None else kept[0][..., place.columns]


def pattern_seen(engine: Engine, layer: int) -> Tensor:
    kept: list[Tensor] = []
    with torch.inference_mode(), engine.ordinary.at(layer, "pattern", lambda found: kept.append(found.clone())):
        engine.ordinary.model(IDS, use_cache=False)
    return kept[0]


def multiplier(model: PreTrainedModel, site: str) -> float:
    """Return by what TransformerLens multiplies what it shows of a site: Granite's blocks multiply what they add."""
    return getattr(model.config, "residual_multiplier", 1.0) if site in ("attn_out", "mlp_out") else 1.0


def assert_same(here: Tensor, by_hook: Tensor, hook: str) -> None:
    """Compare the numbers in their order.

    TransformerLens divides some into other heads than there are: z of attention through low ranks by the size of its
    keys, and q that has a gate beside it (Qwen3-Next) by half of a head's columns.
    """
    assert here.numel() == by_hook.numel(), hook
    size = max(1.0, float(by_hook.abs().max()))
    assert float((here.flatten() - by_hook.flatten()).abs().max()) <= BOUND * size, hook


def test_the_page_is_as_the_tests_write_it(request):
    if request.config.getoption("all_architectures"):
        pytest.skip("the page is about to be written")
    lines = lines_of_page()
    assert [*lines] == all_names()
    assert PAGE.read_text() == page(lines.values())


def test_representative_names_are_known():
    assert {*REPRESENTATIVE} <= {*all_names()}
