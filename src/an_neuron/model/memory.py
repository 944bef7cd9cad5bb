"""Whether a model's weights fit the memory, asked before they are read; and memory that is used again and again."""

import ctypes
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

from an_neuron.errors import UserError
from an_neuron.model.folder import read_json, weight_files

HALF = ("bfloat16", "float16")
MEMINFO = Path("/proc/meminfo")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of two options of glibc's malloc (malloc.h)."""
KEPT_BYTES, LARGEST_KEPT = 1 << 30, 32 << 20
"""How much freed memory a process keeps, and the largest block that it keeps: more than 32 MB glibc does not allow."""


def check_memory(folder: Path, device: str) -> None:
    """Stop where a model's weights, in float32, need more than is free.

    Parameters
    ----------
    folder
        A model folder.
    device
        Name of a torch device; weights go through the machine's own memory in any case.

    Raises
    ------
    UserError
        If the machine's memory or the device's is too small. What cannot be asked is not held against it.
    """
    check_bytes(float32_bytes(folder), f"in {folder}", device)


@cache
def keep_freed_memory() -> None:
    """Let this process use freed memory again, instead of giving it back to the system and asking for it anew.

    A model's passes free and take the same few blocks of some MB all the time. What comes from the system comes page by
    page, each cleared first, which took up to a quarter of a sweep's time. Nothing is done where memory is not glibc's
    to give (macOS, musl).
    """
    with suppress(AttributeError, OSError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def check_bytes(needed: int, where: str, device: str = "cpu") -> None:
    """Stop where weights that lie somewhere need more bytes of memory than are free; see `check_memory`."""
    places = [("of this machine", free_bytes())]
    if torch.device(device).type == "cuda":
        places.append((f"of {device}", torch.cuda.mem_get_info(device)[0]))
    for of, free in places:
        if free is not None and free < needed:
            raise UserError(
                f"The weights {where} take {needed / 1e9:.1f} GB in float32, and {free / 1e9:.1f} GB of the memory "
                f"{of} are free; end other programs, or take a machine or a device with more."
            )


def float32_bytes(folder: Path) -> int:
    """Return how many bytes a folder's weights take in float32, by the sizes of its files and config.json's dtype."""
    config = read_json(folder / "config.json")
    half = (config.get("dtype") or config.get("torch_dtype")) in HALF
    return sum(path.stat().st_size for path in weight_files(folder)) * (2 if half else 1)


def free_bytes() -> int | None:
    """Return how much memory programs may still take, as Linux estimates it; None elsewhere."""
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
