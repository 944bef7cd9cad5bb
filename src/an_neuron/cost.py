"""What a study costs where no GPU is used."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from an_neuron.config import swept_layers
from an_neuron.model_folder import Shape, Tokenizer, read_shape

WORTH_SAYING = 1e8
"""Parameters from which on a model takes more than minutes on a CPU."""


def cost_on_cpu(study: Mapping[str, Any], folder: Path, device: str) -> str:
    """Say what a study costs if it will run on this CPU; nothing for a small model or with a GPU.

    Parameters
    ----------
    study
        A study of the configuration.
    folder
        The model's folder.
    device
        The configured device.
    """
    shape = read_shape(folder)
    if shape.n_parameters < WORTH_SAYING:
        return ""
    from an_neuron.devices import pick

    if pick(device) != "cpu":
        return ""
    tokenizer = Tokenizer(folder)
    lengths = [len(tokenizer.prompt(pair["clean"])) for pair in study["prompts"]]
    return cost_sentence(shape, lengths, len(swept_layers(study, shape)), matmul_rate())


def cost_sentence(shape: Shape, lengths: list[int], n_swept: int, rate: float) -> str:
    """Return what patching and 100,000 tokens of a corpus take on a CPU, by the operations of their matrix products.

    Parameters
    ----------
    shape
        The model's sizes.
    lengths
        Tokens of each prompt pair.
    n_swept
        Layers whose neurons are swept.
    rate
        Floating-point operations a second that the machine reaches in matrix products.
    """
    per_token = 2 * shape.n_parameters
    patched = sum((3 * shape.n_layers * length + n_swept * shape.d_mlp) * length for length in lengths)
    return (
        f"No GPU is used: on this CPU ({rate / 1e9:.0f} GFLOP/s in matrix products) patching takes at least "
        f"{patched * per_token / rate / 3600:.1f} hours, and every 100,000 tokens of the corpus at least "
        f"{1e5 * per_token / rate / 60:.0f} minutes. It runs all the same; `snakemake --cores 2 orchard` takes minutes."
    )


def matmul_rate(size: int = 1024, repeats: int = 5) -> float:
    """Measure the CPU's rate of float32 matrix products, in floating-point operations a second."""
    import torch

    matrix = torch.ones(size, size)
    torch.mm(matrix, matrix)
    start = time.perf_counter()
    for _ in range(repeats):
        torch.mm(matrix, matrix)
    return repeats * 2 * size**3 / (time.perf_counter() - start)
