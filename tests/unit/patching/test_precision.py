"""Sweeps in every precision that a model may come in, held against float32 ones."""

import copy

import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweeps import HEAD_SITES, SITES, patch_heads, patch_neurons, patch_sites
from an_neuron.prompts.pairs import PromptPair

PROMPT_PAIR = PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])
ROUNDINGS = 10
"""Of a half precision, how many of its roundings (eps) a logit difference may be off, as a share of its size.

Each weight, activation and sum is rounded by up to half an eps of its size, in some ten steps a block; the errors add
up as random ones do, to a few eps of the logits' size, which is about that of their differences. Six are found at most.
Ten are 8 % in bfloat16 and 1 % in float16.
"""


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def swept(request, tiny_of):
    """A function that sweeps a tiny model in a precision; each precision is swept once."""
    tiny, made = tiny_of(request.param), {}

    def get(dtype: torch.dtype) -> dict[str, Sweep]:
        if dtype not in made:
            made[dtype] = sweeps(tiny, dtype)
        return made[dtype]

    return get


def sweeps(tiny, dtype: torch.dtype) -> dict[str, Sweep]:
    model = copy.deepcopy(tiny.hugging_face).to(dtype)
    engine = Engine(TransformerBridge.boot_transformers(str(tiny.folder), hf_model=model, device="cpu", dtype=dtype))
    assert engine.ordinary.dtype == dtype
    change = tiny.logits(PROMPT_PAIR.clean)[-1] - tiny.logits(PROMPT_PAIR.corrupted)[-1]
    arguments = engine, [PROMPT_PAIR], LogitDifference(int(change.argmax()), int(change.argmin()))
    neurons = {"post": patch_neurons(*arguments), "post at positions": patch_neurons(*arguments, per_position=True)}
    return {**patch_sites(*arguments), **patch_heads(*arguments, [*HEAD_SITES, "q", "k"]), **neurons}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16], ids=str)
def test_every_precision_gives_checked_sweeps_in_float32(swept, dtype):
    found = swept(dtype)
    assert found.keys() > {*SITES, *HEAD_SITES}
    for sweep in found.values():
        assert {values.dtype for values in (sweep.clean, sweep.corrupted, sweep.patched)} == {torch.float32}
        assert sweep.way == "fast"
        assert len(sweep.checks) > 2, "both prompts and some patches"
        assert 0 <= sweep.rounding < torch.inf
        assert sweep.patched.isfinite().all()


def test_float64_gives_what_float32_does(swept):
    for site, sweep in swept(torch.float64).items():
        assert worst(sweep, swept(torch.float32)[site]) < 1e-5, site


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_gives_what_float32_does_to_its_rounding(swept, dtype):
    for site, sweep in swept(dtype).items():
        assert worst(sweep, swept(torch.float32)[site]) < ROUNDINGS * torch.finfo(dtype).eps, site


def worst(found: Sweep, expected: Sweep) -> float:
    """Return the largest difference, as a share of clean minus corrupted, or of a patched value that is larger."""
    size = max(1.0, float((expected.clean - expected.corrupted).abs()), float(expected.patched.abs().max()))
    return float((found.patched - expected.patched).abs().max()) / size
