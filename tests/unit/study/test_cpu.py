import json
import shutil

import pytest

from an_neuron.model import devices
from an_neuron.model.folder import Shape
from an_neuron.study import cpu, operations
from an_neuron.study.study import Study

# 2 blocks of 4·1000² + 2·1000·24,000 and an unembedding of 1000·50: 104,050,000 parameters.
LARGE = {"n_layer": 2, "n_embd": 1000, "n_inner": 24_000, "vocab_size": 50, "n_positions": 32}


def study(folder, n_prompt_pairs=1, **keys):
    block = {
        "model": {"folder": str(folder), "processing": ["fold_ln"]},
        "prompts": [{"clean": "abcd", "corrupted": "abce"}] * n_prompt_pairs,
        "corpus": dict.fromkeys(["boilerplate", "precision", "keep", "dtype"], ""),
        "further_prompts": [], "answer": "a", "foil": "b", "neuron": "0.1", "associations": [], "top": 0, "top_k": 5,
        "readout": "", "sweep": {"precision": "highest"}, **keys,
    }  # fmt: skip
    return Study.of("pear", block)


@pytest.fixture
def large(tiny_gpt2, tmp_path, monkeypatch):
    """The folder of a model of a tenth of a billion parameters, on a machine that makes 100 GFLOP/s."""
    monkeypatch.setattr(cpu, "matmul_rate", lambda: 1e11)
    folder = shutil.copytree(tiny_gpt2.folder, tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(LARGE))
    return folder


def test_the_sentence_tells_minutes_and_the_rate():
    shape = Shape(n_layers=3, d_model=10, d_mlp=40, n_ctx=64, d_vocab=80)
    needed = operations.patching_operations(shape, [(4, 6), (4, 6)], [0, 2])
    sentence = cpu.cost_sentence(shape, [(4, 6), (4, 6)], [0, 2], n_ctx=16, rate=needed / (30 * 60))
    assert "patching takes at least 30 minutes" in sentence
    minutes = 1e5 * operations.token_operations(shape, 16) / (needed / (30 * 60)) / 60
    assert sentence.endswith(f"every 100,000 tokens of the corpus at least {minutes:.0f} minutes.")
    assert "(155 GFLOP/s in matrix products)" in cpu.cost_sentence(shape, [(4, 6)], [0], 16, 155e9)


def test_a_study_of_a_large_model_is_told_its_cost(large):
    # The prompts differ at the last of 5 positions, BOS included. A row needs 2 · 2 · 1000² operations in a block for
    # keys and values, and 2 · (2 · 1000² + 2 · 1000 · 24,000) + 4 · 5 · 1000 for the rest: together 104,020,000.
    # Neurons of layer 0 go through one block, sites through 2 + 1. 100 prompt pairs of (3 · 3 + 24,000) such rows at
    # 100 GFLOP/s: 2,497 s. A token of the corpus: 2 · (104,000,000 + 2 · 32 · 1000) + 2 · 1000 · 50, so 208 s.
    said = cpu.cost_on_cpu(study(large, 100), "cpu")
    assert "at least 42 minutes, and every 100,000 tokens of the corpus at least 3 minutes" in said
    assert "at least 0 minutes" in cpu.cost_on_cpu(study(large, 100, layers=[1]), "cpu")


def test_nothing_is_said_of_a_small_model(tiny_gpt2, monkeypatch):
    monkeypatch.setattr(cpu, "matmul_rate", None)
    assert cpu.cost_on_cpu(study(tiny_gpt2.folder), "cpu") == ""


def test_nothing_is_said_where_a_gpu_is_used(large, monkeypatch):
    monkeypatch.setattr(devices, "kind", lambda name: "cuda")
    assert cpu.cost_on_cpu(study(large), "auto") == ""


def test_the_rate_is_operations_over_seconds(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(cpu.time, "perf_counter", lambda: next(clock))
    assert cpu.matmul_rate(size=8, repeats=5) == 5 * 2 * 8**3 / 2
