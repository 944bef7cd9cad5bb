"""Models of random weights with the shapes of real ones, and prompts that differ at one position."""

from pathlib import Path

import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

from an_neuron.prompts.pairs import PromptPair

ORCHARD = Path(__file__).resolve().parents[1] / "resources" / "orchard" / "model"
SHAPES = {
    "gpt2-large": {"n_embd": 1280, "n_layer": 36, "n_head": 20},
    "gpt2-small": {"n_embd": 768, "n_layer": 12, "n_head": 12},
    "orchard": {"n_embd": 96, "n_layer": 3, "n_head": 4, "n_inner": 128, "n_positions": 128, "vocab_size": 1536},
}


def random_bridge(name: str, device: str = "cpu", **other: int) -> TransformerBridge:
    """Return a bridge to a GPT-2 of a named shape with random weights; `other` changes its configuration."""
    model = random_model(name, device, **other)
    tokenizer = AutoTokenizer.from_pretrained(ORCHARD, local_files_only=True)  # a bridge wants one; ids are used here
    return TransformerBridge.boot_transformers("gpt2", hf_model=model, tokenizer=tokenizer, device=device)


def random_model(name: str, device: str = "cpu", **other: int) -> GPT2LMHeadModel:
    """Return Hugging Face's GPT-2 of a named shape with random weights, which are the same at each call."""
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(**{**SHAPES[name], **other})).to(device).eval()


def random_prompt_pair(d_vocab: int, length: int = 20, differing: int = 16, seed: int = 1) -> PromptPair:
    """Return a prompt pair of random prompts of the published study's form: 20 tokens that differ at position 16."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(d_vocab - 1, (length,), generator=generator).tolist()
    corrupted = list(clean)
    corrupted[differing] = d_vocab - 1
    return PromptPair(clean, corrupted)
