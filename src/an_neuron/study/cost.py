"""What a study costs where no GPU is used."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from an_neuron.model.folder import Shape, read_shape
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.prompts.pairs import first_difference
from an_neuron.study.checks import swept_layers

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
    from an_neuron.model.devices import kind

    # A named GPU may be one of a node, not of the machine that asks.
    if device not in ("auto", "cpu") or kind(device) != "cpu":
        return ""
    tokenizer = Tokenizer(folder)
    prompt_pairs = [
        (tokenizer.prompt(prompt_pair["clean"]), tokenizer.prompt(prompt_pair["corrupted"]))
        for prompt_pair in study["prompts"]
    ]
    suffixes = [len(clean) - first_difference(clean, corrupted) for clean, corrupted in prompt_pairs]
    return cost_sentence(shape, suffixes, swept_layers(study, shape), matmul_rate())


def patching_operations(shape: Shape, suffix: int, layers: list[int]) -> int:
    """Return the operations of a prompt pair's sweeps of three sites and of some layers' neurons.

    Parameters
    ----------
    shape
        The model's sizes.
    suffix
        Positions from the first one at which the prompts differ.
    layers
        Layers whose neurons are swept.
    """
    block = 2 * (4 * shape.d_model**2 + shape.mlp_parameters)  # of one token
    sites = 3 * suffix * sum(range(shape.n_layers + 1))
    neurons = shape.d_mlp * sum(shape.n_layers - 1 - layer for layer in layers)
    return (sites + neurons) * suffix * block


def row_operations(shape: Shape, suffix: int, length: int, first: int) -> int:
    """Return the operations of one patched row that enters block `first` and goes to the end.

    Parameters
    ----------
    shape
        The model's sizes.
    suffix, length
        Positions from the first one at which the prompts differ, and all of them.
    first
        The block, counted from 0; none is left to run where it is the number of layers.
    """
    if first == shape.n_layers:
        return 0
    keys = 2 * suffix * 2 * shape.d_model**2  # keys and values are needed of the whole suffix in every block
    each = 2 * (2 * shape.d_model**2 + shape.mlp_parameters) + 4 * length * shape.d_model
    whole = shape.n_layers - first - 1
    return whole * (keys + suffix * each) + keys + each  # of the last block only the last position


def neuron_operations(shape: Shape, suffix: int, length: int, layer: int) -> int:
    """Return the operations of a prompt pair's sweep of a layer's neurons; see `row_operations`."""
    return shape.d_mlp * row_operations(shape, suffix, length, layer + 1)


def site_operations(shape: Shape, suffix: int, length: int) -> int:
    """Return the operations of a prompt pair's sweep of one site, resid_pre, by layer and position; see `row_operations`."""
    return suffix * sum(row_operations(shape, suffix, length, layer) for layer in range(shape.n_layers))


def token_operations(shape: Shape, n_ctx: int) -> int:
    """Return the operations of a token of a corpus in rows of n_ctx, attention seen backwards only."""
    block = 2 * (4 * shape.d_model**2 + shape.mlp_parameters) + 2 * n_ctx * shape.d_model
    return shape.n_layers * block + 2 * shape.d_model * shape.d_vocab


def hours(operations: float, rate: float, share: float) -> float:
    """Return the hours of some operations on a device that makes `rate` a second, of which a share is reached."""
    return operations / (rate * share) / 3600


def kept_bytes(n_tokens: int, dtype: str = "float32") -> int:
    """Return the bytes that a corpus pass with `keep: all` keeps of a prompt pair: an activation and a margin a token.

    The top prediction, 4 bytes a token before compression, is shared by all prompt pairs.
    """
    return n_tokens * 2 * {"float32": 4, "float16": 2}[dtype]


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
