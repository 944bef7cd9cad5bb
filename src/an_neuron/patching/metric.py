"""What is measured in a patched run: of the final residual stream or the logits, or inside the model.

Inside, the run need go no further, and only what comes before can be patched.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from an_neuron.errors import UserError

Logits = Callable[[Sequence[int] | None], Tensor]
ORDER = ("resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "post", "mlp_out")
"""The sites of a layer in the order in which they are computed."""


@dataclass(frozen=True)
class LogitDifference:
    """The metric logit(answer) - logit(foil), by their token ids."""

    answer: int
    foil: int

    def __call__(self, residual: Tensor, logits: Logits) -> Tensor:
        """Return logit(answer) - logit(foil) of each row."""
        answer, foil = logits((self.answer, self.foil)).unbind(-1)
        return answer - foil


@dataclass(frozen=True)
class Inside:
    """A metric inside the model: of the activation of a layer's site, at one position.

    Attributes
    ----------
    layer, site
        Where; any of the sites but the pattern.
    position
        Counted from the prompt's end: -1 is the last.
    """

    layer: int
    site: str = "resid_pre"
    position: int = -1

    def read(self, activation: Tensor, columns: Tensor | None) -> Tensor:
        """Return the metric of activations at the position, [row].

        Parameters
        ----------
        activation
            [row, column].
        columns
            For q, k, v and z: which columns are each head's, [head, d_head].
        """
        raise NotImplementedError

    def layers_before(self, site: str) -> int:
        """Return how many layers, from the first, have a site that comes before what is measured."""
        return self.layer + (ORDER.index(site) < ORDER.index(self.site))


@dataclass(frozen=True)
class NeuronActivation(Inside):
    """The metric hook_post of a neuron.

    Attributes
    ----------
    index
        The neuron's number in the layer.
    """

    site: str = "post"
    index: int = 0

    def read(self, activation: Tensor, columns: Tensor | None) -> Tensor:
        """Return the neuron's activation, [row]."""
        return activation[:, self.index]


@dataclass(frozen=True)
class HeadOutput(Inside):
    """The metric z (or q, k, v) of a head along a direction, its dot product.

    Attributes
    ----------
    head
        The head's number.
    direction
        [d_head].
    """

    site: str = "z"
    head: int = 0
    direction: Sequence[float] = ()

    def read(self, activation: Tensor, columns: Tensor | None) -> Tensor:
        """Return the head's output along the direction, [row]."""
        if columns is None:
            raise UserError(f"{self.site} has no heads; a head's output is measured at q, k, v or z.")
        return activation[:, columns[self.head].to(activation.device)] @ activation.new_tensor(self.direction)


@dataclass(frozen=True)
class Stream(Inside):
    """The metric of a residual stream (or of attn_out, mlp_out) along a direction, its dot product.

    Attributes
    ----------
    direction
        [d_model].
    """

    direction: Sequence[float] = ()

    def read(self, activation: Tensor, columns: Tensor | None) -> Tensor:
        """Return the stream along the direction, [row]."""
        return activation @ activation.new_tensor(self.direction)


Metric = Callable[[Tensor, Logits], Tensor] | Inside
"""(final residual [row, d_model], logits(tokens) -> [row, token]) -> a number for each row, [row]; or inside."""


def layers_before(metric: Metric, site: str, n_layers: int) -> int:
    """Return how many layers, from the first, can be patched at a site so that a metric may see it."""
    return metric.layers_before(site) if isinstance(metric, Inside) else n_layers


def measure(metric: Callable[[Tensor, Logits], Tensor], residual: Tensor, logits: Logits) -> Tensor:
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
    return checked(metric(residual, logits), residual)


def checked(values: object, residual: Tensor) -> Tensor:
    """Return what a metric gave, in float32, if it is a number for each row."""
    if not isinstance(values, Tensor) or values.shape != residual.shape[:1]:
        shape = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise UserError(
            f"The metric must return a number for each row, a tensor [{len(residual)}], for residuals "
            f"{list(residual.shape)}; it returned {shape}."
        )
    return values.to(torch.float32)
