"""Patches divided into waves that fit a device's memory."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from an_neuron.errors import UserError, is_out_of_memory
from an_neuron.patching.ordinary import OrdinaryPass
from an_neuron.patching.patches import Patches
from an_neuron.patching.wavefront import Pass

TOO_SMALL = "Not even one patch at a time fits the device's memory; take a larger device."
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """Patches, which of them change anything, and the metric with each: the base run's until it is measured, [row]."""

    patches: Patches
    changing: Tensor
    values: Tensor

    @property
    def pending(self) -> Patches:
        """The patches that must be run."""
        return self.patches.of(self.changing)


def rows_per_wave(passed: Pass | OrdinaryPass, tokens: int | None) -> int:
    """Return how many rows of a prompt pair may run at once; by memory, where the number of tokens is not given."""
    return max(1, (tokens or passed.tokens_per_wave) // passed.tokens_per_row)


def run_in_waves(passed: Pass | OrdinaryPass, patches: Sequence[Patches], rows: int) -> list[Tensor]:
    """Run patches in waves of at most so many rows.

    Parameters
    ----------
    passed
        A prompt pair on an engine.
    patches
        In any order.
    rows
        Patches per wave; halved as often as the device runs out of memory.

    Returns
    -------
    list of Tensor
        The metric with each patch, [row] for each of `patches`.

    Raises
    ------
    UserError
        If the device's memory does not hold even one patch.
    """

    def run(wave: Sequence[Patches]) -> Tensor:
        return torch.cat(passed.sweep(wave))

    tasks = [Task(each, passed.changing(each), passed.base_value.repeat(len(each))) for each in patches]
    ordered = sorted(tasks, key=lambda task: task.patches.rank)
    pending = [task.pending for task in ordered]
    values = torch.cat([passed.base_value.new_empty(0), *in_waves(run, pending, rows)])
    for task, measured in zip(ordered, values.split([len(each) for each in pending]), strict=True):
        task.values[task.changing] = measured
    return [task.values for task in tasks]


def in_waves(run: Callable[[list[Any]], Tensor], pending: Sequence[Any], rows: int) -> Iterator[Tensor]:
    """Run pending patches, or rows, in their order; yield the values of each wave, [row]."""
    pending = [each for each in pending if len(each)]
    with tqdm(total=sum(map(len, pending)), desc="patches", unit="patch", leave=False, delay=2) as progress:
        while pending:
            wave, rest = _first_rows(pending, rows)
            try:
                values = run(wave)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                rows = _fewer(min(rows, sum(map(len, wave))))
                continue
            yield values
            pending = rest
            progress.update(len(values))


def _fewer(rows: int) -> int:
    """Return half as many rows, for a device that has just run out of memory."""
    if rows == 1:
        raise UserError(TOO_SMALL) from None
    log.warning("The device ran out of memory; going on with %d patches at a time.", rows // 2)
    torch.cuda.empty_cache()
    return rows // 2


def _first_rows(patches: Sequence[Any], rows: int) -> tuple[list[Any], list[Any]]:
    """Return the first so many rows of patches, and the rest."""
    wave: list[Any] = []
    for number, each in enumerate(patches):
        if len(each) > rows:
            first, last = each.split(rows)
            return [*wave, first], [last, *patches[number + 1 :]]
        wave.append(each)
        rows -= len(each)
    return wave, []
