"""What a study costs where no GPU is used."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from an_neuron.config import swept_layers
from an_neuron.model_folder import Shape, Tokenizer, read_shape
from an_neuron.prompts import first_difference

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
    pairs = [(tokenizer.prompt(pair["clean"]), tokenizer.prompt(pair["corrupted"])) for pair in study["prompts"]]
    suffixes = [len(clean) - first_difference(clean, corrupted) for clean, corrupted in pairs]
    return cost_sentence(shape, suffixes, swept_layers(study, shape), matmul_rate())


def patching_operations(shape: Shape, suffix: int, layers: list[int]) -> int:
    """Return the operations of a pair's sweeps of three sites and of some layers' neurons.

    Parameters
    ----------
    shape
        The model's sizes.
    suffix
        Positions from the first one at which the prompts differ.
    layers
        Layers whose neurons are swept.
    """
    block = 2 * (4 * shape.d_model**2 + 2 * shape.d_model * shape.d_mlp)  # of one token
    sites = 3 * suffix * sum(range(shape.n_layers + 1))
    neurons = shape.d_mlp * sum(shape.n_layers - 1 - layer for layer in layers)
    return (sites + neurons) * suffix * block


def cost_sentence(shape: Shape, suffixes: list[int], layers: list[int], rate: float) -> str:
    """Return what patching and 100,000 tokens of a corpus take on a CPU, by the operations of their matrix products.

    Parameters
    ----------
    shape
        The model's sizes.
    suffixes
        Positions of each prompt pair from the first one at which its prompts differ.
    layers
        Layers whose neurons are swept.
    rate
        Floating-point operations a second that the machine reaches in matrix products.
    """
    patching = sum(patching_operations(shape, suffix, layers) for suffix in suffixes)
    corpus = 1e5 * 2 * shape.n_parameters
    return (
        f"No GPU is used: on this CPU ({rate / 1e9:.0f} GFLOP/s in matrix products) patching takes at least "
        f"{patching / rate / 60:.0f} minutes, and every 100,000 tokens of the corpus at least "
        f"{corpus / rate / 60:.0f} minutes. It runs all the same; `snakemake --cores 2 orchard` takes minutes."
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
