import json
import shutil

import pytest

from an_neuron.model import devices
from an_neuron.model.folder import Shape
from an_neuron.study import cost

STUDY = {"prompts": [{"clean": "abcd", "corrupted": "abce"}], "neuron": {"layer": 0, "index": 1}}
# 2 blocks of 4·1000² + 2·1000·24,000 and an unembedding of 1000·50: 104,050,000 parameters.
LARGE = {"n_layer": 2, "n_embd": 1000, "n_inner": 24_000, "vocab_size": 50, "n_positions": 32}


@pytest.fixture
def large(tiny_gpt2, tmp_path, monkeypatch):
    """The folder of a model of a tenth of a billion parameters, on a machine that makes 100 GFLOP/s."""
    monkeypatch.setattr(cost, "matmul_rate", lambda: 1e11)
    folder = shutil.copytree(tiny_gpt2.folder, tmp_path / "model")
    (folder / "config.json").write_text(json.dumps(LARGE))
    return folder


def test_patching_costs_what_its_rows_need_from_their_layer_on():
    shape = Shape(n_layers=3, d_model=10, d_mlp=40, n_ctx=64, d_vocab=80)
    block = 2 * (4 * 10**2 + 2 * 10 * 40)  # 2,400
    # Sites: 3 · 4 rows that enter at layer 0, 1, 2 go through 3, 2, 1 blocks. Neurons: 40 rows that leave layer 0 go
    # through 2 blocks, those that leave layer 2 through none. Each row has 4 positions.
    assert cost.patching_operations(shape, 4, [0, 2]) == (12 * 6 + 40 * 2) * 4 * block


def test_the_sentence_tells_minutes_and_the_rate():
    shape = Shape(n_layers=3, d_model=10, d_mlp=40, n_ctx=64, d_vocab=80)
    operations = 2 * cost.patching_operations(shape, 4, [0, 2])
    assert shape.n_parameters == 3 * (400 + 800) + 800
    sentence = cost.cost_sentence(shape, [4, 4], [0, 2], rate=operations / (30 * 60))
    assert "patching takes at least 30 minutes" in sentence
    minutes = 1e5 * 2 * 4400 / (operations / (30 * 60)) / 60
    assert f"at least {minutes:.0f} minutes. It" in sentence
    assert "(155 GFLOP/s in matrix products)" in cost.cost_sentence(shape, [4], [0], 155e9)


def test_a_study_of_a_large_model_is_told_its_cost(large):
    # One block of 2 · (4 · 1000² + 2 · 1000 · 24,000) a token; neurons of layer 0 go through one block, sites through
    # 2 + 1; the prompts differ at the last position. 100 prompt pairs of (3 · 3 + 24,000) rows at 100 GFLOP/s: 2,497 s.
    study = {**STUDY, "prompts": STUDY["prompts"] * 100}
    said = cost.cost_on_cpu(study, large, "cpu")
    assert "at least 42 minutes, and every 100,000 tokens of the corpus at least 3 minutes" in said
    assert "at least 0 minutes" in cost.cost_on_cpu({**study, "layers": [1]}, large, "cpu")


def test_nothing_is_said_of_a_small_model(tiny_gpt2, monkeypatch):
    monkeypatch.setattr(cost, "matmul_rate", None)
    assert cost.cost_on_cpu(STUDY, tiny_gpt2.folder, "cpu") == ""


def test_nothing_is_said_where_a_gpu_is_used(large, monkeypatch):
    monkeypatch.setattr(devices, "kind", lambda name: "cuda")
    assert cost.cost_on_cpu(STUDY, large, "auto") == ""


def test_the_rate_is_operations_over_seconds(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    assert cost.matmul_rate(size=8, repeats=5) == 5 * 2 * 8**3 / 2
