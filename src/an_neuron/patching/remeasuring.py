"""Measuring the neurons that matter of a sweep in reduced precision once more, in float32."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from an_neuron.patching.again import Again
from an_neuron.patching.sweep import Sweep

LARGEST, DRAWN = 1000, 500
"""How many neurons are measured again: of the largest recovery, and by chance of the others."""


def neurons_to_measure(sweep: Sweep) -> tuple[list[tuple[int, int]], np.ndarray]:
    """Return layer and index of a sweep's largest neurons and of some others, and which are drawn by chance.

    Parameters
    ----------
    sweep
        Over layers and neurons; the same neurons are drawn of each sweep of a size.
    """
    (_, layers), (_, neurons) = sweep.axes
    order = sweep.recovery.abs().flatten().argsort(descending=True, stable=True).numpy()
    largest, others = order[:LARGEST], np.sort(order[LARGEST:])
    chance = np.random.default_rng(len(order))
    drawn = np.sort(chance.choice(others, min(DRAWN, len(others)), replace=False))
    places = np.concatenate([np.sort(largest), drawn])
    chosen = [(int(layers[place // len(neurons)]), int(place % len(neurons))) for place in places]
    return chosen, np.arange(len(places)) >= len(largest)


def with_exact(sweep: Sweep, exact: Sweep, chosen: Sequence[tuple[int, int]], drawn: np.ndarray) -> Sweep:
    """Return a sweep in reduced precision in which the chosen neurons have their float32 values."""
    row = {layer: number for number, layer in enumerate(sweep.axes[0][1])}
    rows, indices = torch.tensor([(row[layer], index) for layer, index in chosen]).T
    reduced = sweep.recovery[rows, indices].numpy()
    patched = sweep.patched.clone()
    patched[:, rows, indices] = exact.patched
    layer, index = np.array(chosen, dtype="int32").T
    again = Again(layer, index, drawn, reduced, exact.recovery.numpy())
    return replace(sweep, patched=patched, checks=(*sweep.checks, *exact.checks), again=again)
