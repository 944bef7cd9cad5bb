"""Models small enough to run in milliseconds, saved in Hugging Face format with a tokenizer of letters.

`tiny` is a random model of each architecture, `tiny_gpt2` the one of GPT-2; both also hold their tokenizer. `micro` is
a GPT-2 of one layer whose every number can be worked out by hand; see its fixture.
"""

import gc
import json
import os
import shutil
import string
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import architecture_page
import hypothesis
import pytest
import torch
from architectures import tiny_model
from project import Project
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import decoders, models, pre_tokenizers
from transformer_lens.model_bridge import TransformerBridge
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
)

from an_neuron.model.loading import PROCESSING, load_model, process_weights
from an_neuron.model.tokenizer import Tokenizer

REFUSALS = [
    torch.OutOfMemoryError(),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] . DefaultCPUAllocator: can't allocate memory: you tried to …"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] data. DefaultCPUAllocator: not enough memory: you tried to …"),
    RuntimeError("MPS backend out of memory"),
]
"""How a GPU, numpy and torch's allocators for the CPU and for MPS say that memory is used up."""
BOS = "<|endoftext|>"
MERGES = [("Ġ", "a"), ("Ġa", "n"), ("Ġ", "t"), ("Ġt", "h"), ("Ġth", "e")]
LETTERS = [*string.ascii_lowercase, "Ġ", ".", "Ā"]  # Ġ stands for a space, Ā for NUL
VOCABULARY = [BOS, *LETTERS, *("".join(prompt_pair) for prompt_pair in MERGES)]
D_VOCAB = 50  # more than the tokenizer knows, as in many models
SIZES = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 24}
COMMON = {"vocab_size": D_VOCAB, "bos_token_id": 0, "eos_token_id": 0}
ROTARY = {**COMMON, **SIZES, "max_position_embeddings": 32}
CONFIGS = {
    "gpt2": GPT2Config(**COMMON, n_layer=2, n_embd=16, n_head=4, n_inner=24, n_positions=32),
    "gpt_neox": GPTNeoXConfig(**ROTARY),
    "llama": LlamaConfig(**ROTARY, num_key_value_heads=2),
    "mistral": MistralConfig(**ROTARY, num_key_value_heads=2, sliding_window=4),
    "qwen2": Qwen2Config(**ROTARY, num_key_value_heads=2),
    "gemma2": Gemma2Config(**ROTARY, num_key_value_heads=2, head_dim=4, query_pre_attn_scalar=4, sliding_window=4),
}


@dataclass(frozen=True)
class Parts:
    """Names of a Hugging Face model's modules; `attn` and `mlp` are the last ones before the residual stream."""

    blocks: str
    attn: str
    mlp: str
    down: str
    final: str
    mid: str | None = None


PARTS = {
    "gpt2": Parts("transformer.h", "attn", "mlp", "mlp.c_proj", "transformer.ln_f", "ln_2"),
    "gpt_neox": Parts("gpt_neox.layers", "attention", "mlp", "mlp.dense_4h_to_h", "gpt_neox.final_layer_norm"),
    "llama": Parts("model.layers", "self_attn", "mlp", "mlp.down_proj", "model.norm", "post_attention_layernorm"),
    "gemma2": Parts(
        "model.layers",
        "post_attention_layernorm",
        "post_feedforward_layernorm",
        "mlp.down_proj",
        "model.norm",
        "pre_feedforward_layernorm",
    ),
}
PARTS["qwen2"] = PARTS["mistral"] = PARTS["llama"]

LONGEST = ["slurm", "circuit_page", "interruption", "workflow", "reruns", "documents", "faults", "mutations", "claims"]
"""Files that begin, by their names after `test_`: none of them may be what one of two processes is left with."""

torch.set_num_threads(1)  # these models are too small to share


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run test_architectures.py on all architectures, and write docs/architectures.md if all of them pass"
    parser.addoption("--all-architectures", action="store_true", help=text)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    rank = {f"test_{name}.py": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank) + ("workflow" not in item.path.parts)))


def pytest_collection_finish() -> None:
    """Let garbage be collected less often, and never looked for among what was imported."""
    gc.set_threshold(100_000, 20, 20)
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    if config.getoption("all_architectures"):
        architecture_page.finish(terminalreporter, exitstatus)


class Tiny:
    """A model's folder, and the model as loaded by us and by Hugging Face alone."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.parts = PARTS[name]

    def load(self):
        """Return a bridge that the test may change; its tensors take gradients wherever it is first asked for."""
        with torch.inference_mode(False):
            return load_model(self.folder)

    @cached_property
    def raw(self):
        return self.load()

    @cached_property
    def processing(self):
        return [flag for flag in PROCESSING if self.name == "gpt2" or flag != "refactor_factored_attn_matrices"]

    @cached_property
    def processed(self):
        model = self.load()
        process_weights(model, self.processing)
        return model

    @cached_property
    def hugging_face(self):
        with torch.inference_mode(False):
            model = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.float32, attn_implementation="eager")
        return model.eval().requires_grad_(False)

    @cached_property
    def tokenizer(self):
        return Tokenizer(self.folder)

    def logits(self, ids):
        """Return Hugging Face's own logits, [pos, d_vocab]."""
        return self.hugging_face(torch.tensor([list(ids)])).logits[0]

    def module(self, layer: int, part: str):
        """Return a part of a block of the Hugging Face model; "" is the block."""
        return self.hugging_face.get_submodule(f"{self.parts.blocks}.{layer}.{part}".rstrip("."))

    def final_norm(self):
        return self.hugging_face.get_submodule(self.parts.final)

    def w_out(self, layer: int):
        """Return the neurons' output weights, [d_mlp, d_model]; GPT-2 stores them transposed."""
        weight = self.module(layer, self.parts.down).weight
        return weight if self.name == "gpt2" else weight.T

    def inputs(self, module, ids):
        """Return what a module is given when a row of ids, or rows, is run, [row, pos, ...]."""
        caught = []
        handle = module.register_forward_pre_hook(lambda _, args: caught.append(args[0]))
        self.hugging_face(torch.as_tensor(ids).reshape(-1, torch.as_tensor(ids).shape[-1]))
        handle.remove()
        return caught[0]


def save_tokenizer(folder: Path) -> None:
    vocabulary = {text: token for token, text in enumerate(VOCABULARY)}
    fast = FastTokenizer(models.BPE(vocab=vocabulary, merges=MERGES))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens([BOS])
    fast.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BOS, "eos_token": BOS, "unk_token": BOS}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


def save_random(name: str, folder: Path) -> None:
    """Save a model whose every weight, norms' and biases' too, is large enough to matter."""
    torch.manual_seed(list(CONFIGS).index(name))
    model = AutoModelForCausalLM.from_config(CONFIGS[name])
    for weight in model.parameters():
        weight.data.add_(0.4 * torch.randn_like(weight))
    model.save_pretrained(folder)
    save_tokenizer(folder)


hypothesis.settings.register_profile("default", max_examples=200, deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", max_examples=2000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory, worker_id):
    """A folder that the processes of a run of the tests share."""
    base = tmp_path_factory.getbasetemp()
    return base if worker_id == "master" else base.parent


@pytest.fixture(scope="session")
def built(shared_folder, tmp_path_factory):
    """A checkout in which the embedded study was built; tests must leave it as it is."""

    def build(folder):
        project = Project(folder)
        project.build("orchard")
        return project

    return Project.built_once(shared_folder / "built", build).copied(tmp_path_factory.mktemp("built") / "project")


@pytest.fixture(scope="session")
def tiny_of(tmp_path_factory):
    made = {}

    def get(name: str) -> Tiny:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            save_random(name, folder)
            made[name] = Tiny(name, folder)
        return made[name]

    return get


@pytest.fixture(scope="session", params=CONFIGS)
def tiny(request, tiny_of):
    """Each architecture in turn."""
    return tiny_of(request.param)


@pytest.fixture(scope="session")
def tiny_gpt2(tiny_of):
    return tiny_of("gpt2")


@pytest.fixture(scope="session")
def bridge_of(tmp_path_factory):
    """A bridge, newly made, of a tiny model of an architecture, which `architectures` names."""
    folder = tmp_path_factory.mktemp("tokenizer")
    CONFIGS["gpt2"].save_pretrained(folder)
    save_tokenizer(folder)
    return lambda name: TransformerBridge.boot_transformers(str(folder), hf_model=tiny_model(name), device="cpu")


@pytest.fixture(scope="session")
def micro(tmp_path_factory):
    """A GPT-2 of one layer, without attention, that can be worked out by hand.

    e1, e2, e3 are orthogonal, with mean 0 and variance 1, so a residual stream of a·e1 + b·e2 + c·e3, written
    (a, b, c), has norm scale sqrt(a² + b² + c²). Token 1 is embedded as (0, 3, 0) and token 2 as (0, 0, 1).

    Neuron 0 is 1 at token 1 alone and writes (4, 0, 0); neuron 1 is 1 at token 2 alone and writes (-2, -2, 0); neuron 2
    is never active. So the final stream is (4, 3, 0) with scale 5 at token 1, and (-2, -2, 1) with scale 3 at token 2.

    The final norm's bias is (0.2, 0, 0). Token 3, the answer, has the logit 30a + 15b + 6; token 4, the foil, 15c; the
    others 0, where (a, b, c) is the normalised stream.
    """
    e1, e2, e3 = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    config = GPT2Config(
        vocab_size=5, n_embd=4, n_layer=1, n_head=1, n_positions=8, n_inner=3, activation_function="relu",
        layer_norm_epsilon=0.0, bos_token_id=0, eos_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    inner, block = model.transformer, model.transformer.h[0]
    for weight in (*block.attn.parameters(), *block.mlp.parameters(), inner.wpe.weight, model.lm_head.weight):
        weight.data.zero_()
    inner.wte.weight.data = torch.stack([e1, 3 * e2, e3, 2 * e1, -e3])
    block.mlp.c_fc.weight.data = torch.stack([e2 / 4, e3 / 4, torch.zeros(4)], dim=1)
    block.mlp.c_proj.weight.data = torch.stack([4 * e1, -2 * e1 - 2 * e2, e3])
    inner.ln_f.bias.data = 0.2 * e1
    model.lm_head.weight.data[3:] = torch.stack([30 * e1 + 15 * e2, 15 * e3]) / 4
    folder = tmp_path_factory.mktemp("micro")
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return Tiny("gpt2", folder)


@pytest.fixture
def disk(monkeypatch):
    """The disk, of which a test says how many bytes are free."""
    of = SimpleNamespace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: of)
    return of


@pytest.fixture(params=REFUSALS, ids=lambda refusal: str(refusal)[-24:] or type(refusal).__name__)
def refusal(request):
    """Each way in which a library says that memory is used up."""
    return request.param
