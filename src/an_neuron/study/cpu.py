"""What a study costs where no GPU is used."""

import time
from collections.abc import Iterable
from pathlib import Path

from an_neuron.corpus.rows import row_length
from an_neuron.model.folder import Shape
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.prompts.pairs import first_difference
from an_neuron.study.operations import patching_operations, token_operations
from an_neuron.study.study import Study

WORTH_SAYING = 1e8
"""Parameters from which on a model takes more than minutes on a CPU."""
SOME_TOKENS = 100_000
"""Tokens of a corpus for which a time is told, since its length is not known yet."""


def cost_on_cpu(study: Study, device: str) -> str:
    """Say what a study costs if it will run on this CPU; nothing for a small model or with a GPU.

    Parameters
    ----------
    study
        A study whose model is there.
    device
        The configured device.
    """
    shape = study.shape()
    if shape.n_parameters < WORTH_SAYING:
        return ""
    from an_neuron.model.devices import kind

    # A named GPU may be one of a node, not of the machine that asks.
    if device not in ("auto", "cpu") or kind(device) != "cpu":
        return ""
    n_ctx = row_length(study.corpus.n_ctx, shape)
    layers = study.swept_layers(shape)
    return cost_sentence(shape, _positions(study), layers, n_ctx, matmul_rate(), study.screened(layers))


def _positions(study: Study) -> list[tuple[int, int]]:
    """Return for each prompt pair the positions from its first difference on, and all."""
    tokenizer = Tokenizer(Path(study.model_folder))
    tokens = [(tokenizer.prompt(pair.clean), tokenizer.prompt(pair.corrupted)) for pair in study.prompts]
    return [(len(clean) - first_difference(clean, corrupted), len(clean)) for clean, corrupted in tokens]


def cost_sentence(
    shape: Shape,
    positions: Iterable[tuple[int, int]],
    layers: list[int],
    n_ctx: int,
    rate: float,
    screened: int | None = None,
) -> str:
    """Return what patching and 100,000 tokens of a corpus take on a CPU, by the operations of their matrix products.

    Parameters
    ----------
    shape
        The model's sizes.
    positions
        For each prompt pair the positions from its first difference on, and all.
    layers
        Layers whose neurons are swept.
    n_ctx
        Tokens of a row of the corpus.
    rate
        Floating-point operations per second that the machine reaches in matrix products.
    screened
        How many of these layers' neurons are patched; all if None.
    """
    patching = patching_operations(shape, positions, layers, screened)
    corpus = SOME_TOKENS * token_operations(shape, n_ctx)
    return (
        f"No GPU is used: on this CPU ({rate / 1e9:.0f} GFLOP/s in matrix products) patching takes at least "
        f"{patching / rate / 60:.0f} minutes, and every {SOME_TOKENS:,} tokens of the corpus at least "
        f"{corpus / rate / 60:.0f} minutes."
    )


def matmul_rate(size: int = 1024, repeats: int = 5) -> float:
    """Measure the CPU's rate of float32 matrix products, in floating-point operations per second."""
    import torch

    matrix = torch.ones(size, size)
    torch.mm(matrix, matrix)
    start = time.perf_counter()
    for _ in range(repeats):
        torch.mm(matrix, matrix)
    return repeats * 2 * size**3 / (time.perf_counter() - start)
