"""Claims: each of several processes of a machine takes something of which there are a few, a GPU say, for itself.

A claim is a lock on a file. The system lets go of it when the process ends, however it ends, so that none is left over.
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

POLL_SECONDS = 1.0
_held: dict[str, int] = {}
"""File descriptors of the locks that this process holds; they stay open until it ends."""


def possible() -> bool:
    """Return whether this platform has the locks that claims are made of."""
    return fcntl is not None


def claim(names: Sequence[str], folder: Path) -> str:
    """Claim the first name that no other process claims, until this process ends; if all are claimed, wait for one.

    A process that asks again gets what it has.

    Parameters
    ----------
    names
        What can be claimed; each makes up part of a file's name.
    folder
        Where the lock files lie, the same for all processes that must not take the same.
    """
    told = False
    while True:
        for name in names:
            if name in _held or _lock(name, folder / f"an_neuron-{name}.lock"):
                return name
        if not told:
            listed = ", ".join(names)
            print(f"Other jobs use {listed} (locks in {folder}); waiting for one to end …", file=sys.stderr, flush=True)
            told = True
        time.sleep(POLL_SECONDS)  # no call waits for whichever of several locks is free first


def _lock(name: str, path: Path) -> bool:
    """Take a file's lock if it is free."""
    try:
        lock = _opened(path)
    except PermissionError:  # another user is making the file just now
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    _held[name] = lock
    return True


def _opened(path: Path) -> int:
    """Open a lock file, which any user may lock, and make it if need be.

    Nothing is written to it, so that reading is all that others need: many systems refuse to open another user's file
    for writing in a folder for temporary files.
    """
    while True:
        try:
            return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            pass
        try:
            made = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        except FileExistsError:
            continue  # another process was faster
        os.fchmod(made, 0o644)  # whatever the user's umask says
        return made


def claimed(device: str) -> str:
    """Return the torch device on which this process computes; of several GPUs one that no other process has claimed.

    `cuda` claims a GPU until the process ends, and waits where all are claimed; `cuda:1` is that one, claimed or not.
    CUDA_VISIBLE_DEVICES, set by Slurm or by hand, says which GPUs there are.

    Parameters
    ----------
    device
        As `an_neuron.model.devices.kind` returns it: "cpu", "mps", "cuda" or "cuda:1".
    """
    import torch

    # A single GPU is not claimed: there is nothing to choose. Snakemake's resource `gpu`, or Slurm, sees to it that
    # jobs take turns, and a notebook beside them may share it, which waiting for a claim would forbid.
    if device == "cuda" and torch.cuda.device_count() > 1 and possible():
        names = [_uuid(index) for index in range(torch.cuda.device_count())]
        device = f"cuda:{names.index(claim(names, Path(tempfile.gettempdir())))}"
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)  # what names no device, pinned memory and events say, would go to the first
    return device


def _uuid(index: int) -> str:
    """Return the name of a GPU that is the same for all processes, whichever GPUs they see."""
    import torch

    return f"gpu-{torch.cuda.get_device_properties(index).uuid}"
