"""Which device computes."""

import tempfile
from pathlib import Path

import torch

from an_neuron.errors import UserError
from an_neuron.model import claims


def kind(name: str = "auto") -> str:
    """Return the torch device that a name means, and claim none; `auto` is cuda, then mps, then cpu.

    Raises
    ------
    UserError
        If a named device is not there.
    """
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return "cuda"  # not tried out, which would take memory of the first GPU, whoever uses that
    if name == "auto":
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device: {name!r} cannot be used ({reason}).", setting="device: auto") from error
    return name


def pick(name: str = "auto") -> str:
    """Return the torch device on which this process computes; of several GPUs one that no other process has claimed.

    `auto` and `cuda` claim a GPU until the process ends, and wait where all are claimed; `cuda:1` is that one, claimed
    or not. CUDA_VISIBLE_DEVICES, set by Slurm or by hand, says which GPUs there are.

    Raises
    ------
    UserError
        If a named device is not there.
    """
    device = kind(name)
    # A single GPU is not claimed: there is nothing to choose. Snakemake's resource `gpu`, or Slurm, sees to it that
    # jobs take turns, and a notebook beside them may share it, which waiting for a claim would forbid.
    if device == "cuda" and torch.cuda.device_count() > 1 and claims.possible():
        names = [_uuid(index) for index in range(torch.cuda.device_count())]
        device = f"cuda:{names.index(claims.claim(names, Path(tempfile.gettempdir())))}"
    if device.startswith("cuda:"):
        torch.cuda.set_device(device)  # what names no device, pinned memory and events say, would go to the first
    return device


def _uuid(index: int) -> str:
    """Return the name of a GPU that is the same for all processes, whichever GPUs they see."""
    return f"gpu-{torch.cuda.get_device_properties(index).uuid}"
