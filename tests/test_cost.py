import json
import shutil

import pytest

from an_neuron import cost, devices
from an_neuron.model_folder import Shape

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


def test_cost_is_twice_the_parameters_for_each_token_of_each_patched_run():
    shape = Shape(n_layers=10, d_model=100, d_mlp=400, n_ctx=64, d_vocab=8000)
    parameters = 10 * (4 * 100**2 + 2 * 100 * 400) + 100 * 8000  # 2,000,000
    assert parameters == 2_000_000
    # 3 sites · 10 layers · 20 positions + 2 layers · 400 neurons = 1,400 runs of 20 tokens; 600 + 800 + … of 30 tokens.
    operations = (1400 * 20 + 1700 * 30) * 4e6
    sentence = cost.cost_sentence(shape, [20, 30], n_swept=2, rate=operations / (2.5 * 3600))
    assert "at least 2.5 hours" in sentence
    minutes = 1e5 * 4e6 / (operations / (2.5 * 3600)) / 60
    assert f"at least {minutes:.0f} minutes" in sentence
    assert f"{minutes:.0f}" == "190"


def test_the_sentence_names_the_rate():
    shape = Shape(n_layers=1, d_model=10, d_mlp=40, n_ctx=8, d_vocab=10)
    assert "(155 GFLOP/s in matrix products)" in cost.cost_sentence(shape, [5], 1, 155e9)


def test_a_study_of_a_large_model_is_told_its_cost(large):
    # (3 · 2 · 5 + 24,000) runs of 5 tokens at 2 · 104,050,000 operations, at 100 GFLOP/s: 250 s.
    assert "at least 0.1 hours, and every 100,000 tokens of the corpus at least 3 minutes" in cost.cost_on_cpu(
        STUDY, large, "cpu"
    )


def test_every_layer_that_is_swept_costs(large):
    one, both = (cost.cost_on_cpu({**STUDY, "layers": layers}, large, "cpu") for layers in ([0], [0, 1]))
    assert "at least 0.1 hours" in both  # 500 s
    assert one == cost.cost_on_cpu(STUDY, large, "cpu")
    longer = {**STUDY, "prompts": STUDY["prompts"] * 20}
    one, both = (cost.cost_on_cpu({**longer, "layers": layers}, large, "cpu") for layers in ([0], [0, 1]))
    assert "at least 1.4 hours" in one
    assert "at least 2.8 hours" in both


def test_nothing_is_said_of_a_small_model(tiny_gpt2, monkeypatch):
    monkeypatch.setattr(cost, "matmul_rate", None)
    assert cost.cost_on_cpu(STUDY, tiny_gpt2.folder, "cpu") == ""


def test_nothing_is_said_where_a_gpu_is_used(large, monkeypatch):
    monkeypatch.setattr(devices, "pick", lambda name: "cuda")
    assert cost.cost_on_cpu(STUDY, large, "auto") == ""


def test_the_rate_is_operations_over_seconds(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(clock))
    assert cost.matmul_rate(size=8, repeats=5) == 5 * 2 * 8**3 / 2
