"""What a sweep measures, and recovery: how much of the clean run's metric a patch brings back."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from an_neuron.errors import NothingToRecoverError

if TYPE_CHECKING:
    import pandas as pd

    from an_neuron.patching.again import Again
    from an_neuron.patching.spot_checks import SpotCheck


@dataclass(frozen=True, repr=False)
class Sweep:
    """The metric (a logit difference, as a rule) of prompt pairs, in float32.

    Attributes
    ----------
    clean, corrupted
        Of the prompts as they are, [prompt_pair].
    patched
        With each patch, [prompt_pair, ...]; NaN where a shorter prompt has no such position.
    checks
        Values measured again by ordinary forwards, with their differences: the rounding of the others.
    way
        "fast", "ordinary", or "fast and ordinary" where prompt pairs differ.
    axes
        Names of the axes of `patched` behind the first, and what is along each: layers, positions from the prompts' end
        (-1 is the last), heads, neurons.
    precision
        Of most products: "highest" is float32.
    again
        In a lower precision, which patches were measured again in float32.
    """

    clean: Tensor
    corrupted: Tensor
    patched: Tensor
    checks: tuple["SpotCheck", ...] = ()
    way: str = "fast"
    axes: tuple[tuple[str, Sequence[int | str]], ...] = ()
    precision: str = "highest"
    again: "Again | None" = None

    def __repr__(self) -> str:
        """Say what was swept, and how exact it is, in a line."""
        shape = " x ".join(_counted(len(along), name) for name, along in self.axes) or f"{list(self.patched.shape[1:])}"
        pairs = _counted(len(self.clean), "prompt pair")
        ends = f"clean {float(self.clean.mean()):.3g}, corrupted {float(self.corrupted.mean()):.3g}"
        checked = f"{len(self.checks)} spot checks within {self.rounding:.0e}"
        if self.again is not None:
            checked += f"; in {self.precision}, {len(self.again.layer)} of them again in float32"
        return f"<Sweep of {shape}, {pairs}: {ends}, largest recovery {self._largest():.3g}; {self.way} way, {checked}>"

    @property
    def rounding(self) -> float:
        """The largest difference of a spot check, in the metric's unit; NaN without spot checks."""
        return max((check.difference for check in self.checks), default=float("nan"))

    def to_frame(self) -> "pd.DataFrame":
        """Return recovery and mean metric of each patch, indexed by the axes' names; `.to_xarray()` works on it.

        A position that no prompt pair has is left out.
        """
        import pandas as pd

        names = [name for name, _ in self.axes] or ["patch"]
        along = [values for _, values in self.axes] or [range(self.recovery.numel())]
        columns = {"recovery": self.recovery, "standard_error": self.standard_error, "patched": self.patched.nanmean(0)}
        index = pd.MultiIndex.from_tuples(list(product(*along)), names=names)
        frame = pd.DataFrame({name: values.flatten().numpy() for name, values in columns.items()}, index=index)
        return frame[frame["recovery"].notna()]

    def top(self, k: int = 10) -> "pd.DataFrame":
        """Return the k patches of the largest recovery, as rows of `to_frame` with the axes as columns."""
        return self.to_frame().nlargest(k, "recovery").reset_index()

    def in_layers(self, n_layers: int) -> "Sweep":
        """Return the sweep in so many layers: patches in later ones come after what is measured and change nothing.

        `axes` must begin with the layers, which are the first ones.
        """
        (name, layers), *others = self.axes
        shape = len(self.clean), n_layers - len(layers), *self.patched.shape[2:]
        later = self.corrupted.view(-1, *[1] * (len(shape) - 1)).expand(shape)
        if layers:
            later = later.where(self.patched[:, :1].isfinite(), torch.nan)  # a shorter prompt has fewer positions
        return replace(self, patched=torch.cat([self.patched, later], dim=1), axes=((name, range(n_layers)), *others))

    def _largest(self) -> float:
        return float(self.recovery[self.recovery.isfinite()].max())

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


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def recovery(patched: Tensor, clean: Tensor, corrupted: Tensor) -> Tensor:
    """Return (patched - corrupted) / (clean - corrupted); NaN where clean and corrupted are the same."""
    whole = clean - corrupted
    return torch.where(whole == 0, torch.nan, (patched - corrupted) / whole)


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
    patched, clean, corrupted = (
        torch.where(finite, values, torch.nan).nanmean(0)
        for values in (patched, clean.view(-1, *axes), corrupted.view(-1, *axes))
    )
    if bool((clean == corrupted).any()):
        raise NothingToRecoverError(
            "The clean and the corrupted prompts measure the same in the mean, so there is nothing to recover; choose "
            "prompts, or an answer and a foil, between which the model changes its mind."
        )
    return recovery(patched, clean, corrupted)
