"""Weights that do not fit are refused before they are read."""

import ctypes
import json
import resource

import pytest
import torch

from an_neuron.errors import UserError
from an_neuron.model import memory
from an_neuron.model.loading import load_model


def test_what_weights_take_by_hand(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"0" * 600)
    (tmp_path / "b.safetensors").write_bytes(b"0" * 400)
    for named, expected in (({}, 1000), ({"dtype": "float32"}, 1000), ({"torch_dtype": "bfloat16"}, 2000)):
        (tmp_path / "config.json").write_text(json.dumps(named))
        assert memory.float32_bytes(tmp_path) == expected


def test_weights_that_do_not_fit_are_refused_before_they_are_read(tiny_gpt2, tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:       3 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    with pytest.raises(UserError, match=r"take 0\.0 GB in float32, and 0\.0 GB of the memory of this machine are free"):
        load_model(tiny_gpt2.folder)


def test_memory_that_cannot_be_asked_is_not_held_against_a_model(tiny_gpt2, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "nothing")
    assert memory.free_bytes() is None
    assert load_model(tiny_gpt2.folder).cfg.n_layers == 2


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_freed_memory_is_used_again():
    n_bytes, times = 16 << 20, 20

    def filled() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(times):
            torch.empty(n_bytes, dtype=torch.uint8).fill_(1)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    memory.keep_freed_memory()
    filled()
    assert filled() < n_bytes // resource.getpagesize()  # of one block, where each of the twenty would be new


def test_the_machine_tells_its_memory():
    assert memory.free_bytes() is None or memory.free_bytes() > 1 << 20
