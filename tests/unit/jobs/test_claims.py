"""Several jobs on the GPUs of one machine: each claims its own, without a GPU at hand."""

import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
from types import SimpleNamespace

import pytest
import torch
from project import Project

from an_neuron.jobs import claims
from an_neuron.model import devices

CLAIM = """
import sys
from pathlib import Path
from an_neuron.jobs import claims
claims.POLL_SECONDS = 0.05
print(claims.claim(sys.argv[2:], Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""
SNAKEFILE = """
rule all:
    input:
        "claimed_a.txt",
        "claimed_b.txt",


rule claim:
    output:
        "claimed_{job}.txt",
    resources:
        gpu=1,
        mem_mb=lambda wildcards, attempt: attempt * 10**9,  # one machine does not ask for memory
    script:
        "claim.py"
"""
TOGETHER = """
import signal
from pathlib import Path
from an_neuron.jobs.claims import claim
signal.alarm(60)  # ends a job that waits in vain for the other
claimed = claim(["one", "two"], Path("."))
first, second = Path("first.fifo"), Path("second.fifo")
if snakemake.wildcards.job == "a":  # both hold their claims at the same time
    first.write_text("here")
    second.read_text()
else:
    first.read_text()
    second.write_text("here")
Path(snakemake.output[0]).write_text(claimed)
"""
ALONE = """
import time
from pathlib import Path
running = Path("running")
running.touch(exist_ok=False)  # fails if the other job runs
time.sleep(1)
running.unlink()
Path(snakemake.output[0]).touch()
"""


@pytest.fixture
def start():
    """Return a function that starts a process which claims one of some names, and holds it until its input ends."""
    started = []

    def start(folder, *names, **options):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        command = [sys.executable, "-c", CLAIM, str(folder), *names]
        started.append(subprocess.Popen(command, text=True, **pipes, **options))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def claimed(process):
    return process.stdout.readline().strip()


@pytest.fixture
def gpus(monkeypatch, tmp_path):
    """Return a function that pretends that there are some GPUs; it returns the list of those made the current one."""
    current = []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(claims, "_held", {})
    monkeypatch.setattr(claims, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)

    def pretend(*uuids):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=uuids[index]))
        return current

    yield pretend
    for lock in claims._held.values():
        os.close(lock)


def test_processes_that_start_together_claim_different_devices(start, tmp_path):
    names = ["one", "two", "three", "four"]
    processes = [start(tmp_path, *names) for _ in names]
    assert sorted(map(claimed, processes)) == sorted(names)


def test_a_claim_ends_with_the_process_even_one_that_is_killed(start, tmp_path):
    first = start(tmp_path, "one", "two")
    assert claimed(first) == "one"
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert claimed(start(tmp_path, "one", "two")) == "one"


def test_a_third_process_waits_for_the_first_of_two_to_end(start, tmp_path):
    holders = [start(tmp_path, "one", "two") for _ in range(2)]
    by_name = {claimed(process): process for process in holders}
    third = start(tmp_path, "one", "two")
    assert f"Other jobs use one, two (locks in {tmp_path}); waiting" in third.stderr.readline()
    assert not select.select([third.stdout], [], [], 0)[0]
    by_name["two"].communicate()  # its input ends
    assert claimed(third) == "two"
    assert by_name["one"].poll() is None


def test_other_users_may_lock_too_whatever_the_umask(start, tmp_path):
    assert claimed(start(tmp_path, "one", umask=0o077)) == "one"
    (path,) = tmp_path.glob("*.lock")
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o444)  # what is another user's can only be read
    assert claims._lock("one", path) is False


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path):
    (tmp_path / "an_neuron-one.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        claims.claim(["one"], tmp_path)


def test_the_device_that_another_process_claimed_is_not_picked(start, gpus, tmp_path):
    current = gpus("aaaa", "bbbb")
    assert claimed(start(tmp_path, "gpu-aaaa")) == "gpu-aaaa"
    assert claims.claimed(devices.kind()) == "cuda:1"
    assert claims.claimed(devices.kind("cuda")) == "cuda:1"  # a process keeps what it has
    assert current == ["cuda:1", "cuda:1"]


def test_visible_devices_are_known_by_their_names_not_their_numbers(start, gpus, tmp_path):
    assert claimed(start(tmp_path, "gpu-bbbb")) == "gpu-bbbb"
    gpus("bbbb", "cccc")  # as with CUDA_VISIBLE_DEVICES=1,2
    assert claims.claimed(devices.kind()) == "cuda:1"


def test_a_named_device_is_taken_claimed_or_not(start, gpus, tmp_path):
    current = gpus("aaaa", "bbbb")
    assert claimed(start(tmp_path, "gpu-bbbb")) == "gpu-bbbb"
    assert claims.claimed(devices.kind("cuda:1")) == "cuda:1"
    assert current == ["cuda:1"]


def test_a_single_device_is_not_claimed(gpus, tmp_path):
    gpus("aaaa")
    assert claims.claimed(devices.kind()) == claims.claimed(devices.kind("cuda")) == "cuda"
    assert not list(tmp_path.iterdir())


def test_to_ask_for_the_kind_of_device_claims_nothing(gpus, tmp_path):
    gpus("aaaa", "bbbb")
    assert devices.kind() == devices.kind("cuda") == "cuda"
    assert not list(tmp_path.iterdir())


def test_nothing_is_claimed_where_there_are_no_such_locks(gpus, monkeypatch, tmp_path):
    monkeypatch.setattr(claims, "fcntl", None)
    gpus("aaaa", "bbbb")
    assert claims.claimed(devices.kind()) == "cuda"
    assert not list(tmp_path.iterdir())


def snakemake(folder, script, gpus):
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "claim.py").write_text(script)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--resources", f"gpu={gpus}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.workflow
def test_two_jobs_of_a_machine_with_two_gpus_run_at_once_each_on_its_own(tmp_path):
    for name in ("first", "second"):
        os.mkfifo(tmp_path / f"{name}.fifo")
    ran = snakemake(tmp_path, TOGETHER, gpus=2)
    assert ran.returncode == 0, ran.stderr
    assert {(tmp_path / f"claimed_{job}.txt").read_text() for job in "ab"} == {"one", "two"}


@pytest.mark.workflow
def test_two_jobs_of_a_machine_with_one_gpu_never_run_at_once(tmp_path):
    ran = snakemake(tmp_path, ALONE, gpus=1)
    assert ran.returncode == 0, ran.stderr
    assert len(list(tmp_path.glob("claimed_*.txt"))) == 2


@pytest.mark.workflow
@pytest.mark.parametrize(("gpus", "threads"), [((), 8), (("--resources", "gpu=1"), 8), (("--resources", "gpu=2"), 4)])
def test_jobs_of_a_large_model_share_the_cores_so_that_every_gpu_has_one(tmp_path, gpus, threads):
    """The published model is not fetched here, so that its jobs' memory is that of GPT-2 Large, which it is."""
    planned = Project(tmp_path).build("--dry-run", "--cores", "8", *gpus)
    (job,) = [block for block in planned.split("\n\n") if "rule predict_prompts:" in block]
    assert f"threads: {threads}\n" in job
    assert "runtime=15, mem_mb=13710" in job
