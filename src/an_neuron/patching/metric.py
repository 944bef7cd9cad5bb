"""What is measured at the end of a patched run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from an_neuron.errors import UserError

Logits = Callable[[Sequence[int] | None], Tensor]
Metric = Callable[[Tensor, Logits], Tensor]
"""(final residual [row, d_model], logits(tokens) -> [row, token]) -> a number for each row, [row]."""


@dataclass(frozen=True)
class LogitDifference:
    """The metric logit(answer) - logit(foil), by their token ids."""

    answer: int
    foil: int

    def __call__(self, residual: Tensor, logits: Logits) -> Tensor:
        """Return logit(answer) - logit(foil) of each row."""
        answer, foil = logits((self.answer, self.foil)).unbind(-1)
        return answer - foil


def measure(metric: Metric, residual: Tensor, logits: Logits) -> Tensor:
    """Return the metric of final residuals in float32, [row].

    Parameters
    ----------
    metric
        The metric.
    residual
        What leaves the last block at the last position, [row, d_model].
    logits
        The logits of some tokens, of all for None, [row, token].

    Raises
    ------
    UserError
        If the metric does not return a number for each row.
    """
    values = metric(residual, logits)
    if not isinstance(values, Tensor) or values.shape != residual.shape[:1]:
        shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise UserError(
            f"The metric must return a number for each row, a tensor [{len(residual)}], for residuals "
            f"{list(residual.shape)}; it returned {shape}."
        )
    return values.to(torch.float32)
