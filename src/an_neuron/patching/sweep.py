"""What a sweep measures, and recovery: how much of the clean run's metric a patch brings back."""

from dataclasses import dataclass

import torch
from torch import Tensor

from an_neuron.errors import UserError


@dataclass(frozen=True)
class Sweep:
    """The metric (a logit difference, as a rule) of prompt pairs.

    Attributes
    ----------
    clean, corrupted
        Of the prompts as they are, [prompt_pair].
    patched
        With each patch, [prompt_pair, ...]; NaN where a shorter prompt has no such position.
    nothing, everything
        Of the controls, [prompt_pair]: must be those of the base and of the source run.
    """

    clean: Tensor
    corrupted: Tensor
    patched: Tensor
    nothing: Tensor
    everything: Tensor

    @property
    def recovery_per_prompt_pair(self) -> Tensor:
        """Recovery of each prompt pair, [prompt_pair, ...]: 0 = as the corrupted prompt, 1 = as the clean one."""
        axes = [1] * (self.patched.ndim - 1)
        return recovery(self.patched, self.clean.view(-1, *axes), self.corrupted.view(-1, *axes))

    @property
    def recovery(self) -> Tensor:
        """Recovery of the prompt pairs' mean metric, [...], over the prompt pairs that have the position."""
        return mean_recovery(self.patched, self.clean, self.corrupted)

    @property
    def standard_error(self) -> Tensor:
        """Standard error of the recovery over the prompt pairs, [...]; NaN for a single prompt pair."""
        per_prompt_pair = self.recovery_per_prompt_pair
        number = per_prompt_pair.isfinite().sum(0)
        deviation = (per_prompt_pair - per_prompt_pair.nanmean(0)).square().nansum(0) / (number - 1)
        return (deviation / number).sqrt().where(number > 1, torch.nan)


def recovery(patched: Tensor, clean: Tensor, corrupted: Tensor) -> Tensor:
    """Return (patched - corrupted) / (clean - corrupted).

    Raises
    ------
    UserError
        If clean and corrupted metric are the same, so that there is nothing to recover.
    """
    if bool((clean == corrupted).any()):
        raise UserError(
            "The clean and the corrupted prompt have the same logit difference, so there is nothing to recover; choose "
            "prompts, or an answer and a foil, between which the model changes its mind."
        )
    return (patched - corrupted) / (clean - corrupted)


def mean_recovery(patched: Tensor, clean: Tensor, corrupted: Tensor) -> Tensor:
    """Return the recovery of the prompt pairs' mean metric, [...], over the prompt pairs whose value is finite.

    Parameters
    ----------
    patched
        [prompt_pair, ...].
    clean, corrupted
        [prompt_pair].
    """
    axes, finite = [1] * (patched.ndim - 1), patched.isfinite()
    return recovery(
        *(
            torch.where(finite, values, torch.nan).nanmean(0)
            for values in (patched, clean.view(-1, *axes), corrupted.view(-1, *axes))
        )
    )
