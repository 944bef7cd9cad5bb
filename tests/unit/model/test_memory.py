"""Weights that do not fit are refused before they are read."""

import ctypes
import json
import subprocess
import sys

import pytest

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


TAKEN_AGAIN = """
import ctypes, resource, sys
from an_neuron.model.memory import keep_freed_memory

libc, n_bytes = ctypes.CDLL(None), 30 << 20
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def take():
    blocks = [libc.malloc(ctypes.c_size_t(n_bytes)) for _ in range(3)]
    for block in blocks:
        ctypes.memset(block, 1, n_bytes)
    for block in blocks:
        libc.free(block)

if sys.argv[1] == "kept":
    keep_freed_memory()
take(), take()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    take()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="needs glibc")
def test_freed_memory_is_used_again():
    def faults(how: str) -> int:
        ran = subprocess.run([sys.executable, "-c", TAKEN_AGAIN, how], check=True, capture_output=True, text=True)
        return int(ran.stdout)

    assert faults("kept") < 100 < faults("as it was")


def test_the_machine_tells_its_memory():
    assert memory.free_bytes() is None or memory.free_bytes() > 1 << 20
