"""What a patch puts in: the other run's value, as a rule; or zero, a mean, the negative, a multiple, a given number.

    patch_neurons(engine, prompt_pairs, metric, [25], put=Zero())
    patch_heads(engine, prompt_pairs, metric, ["z"], put=mean_over(engine, prompts, [(23, "z")]))

The other run's values differ from the first different position on; all others are put in at every position.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from an_neuron.errors import UserError

Site = tuple[int, str]


@dataclass(frozen=True)
class OtherRun:
    """The activation of the other prompt of the pair."""

    everywhere = False
    """Whether it differs from the base run's at every position, instead of from the first different one on."""

    def __call__(self, site: Site, base: Tensor, source: Tensor) -> Tensor:
        """Return what is put in.

        Parameters
        ----------
        site
            Layer and site.
        base, source
            The patched run's own activation and the other run's, [pos, column], or [head, pos, key] for patterns.
        """
        return source


@dataclass(frozen=True)
class Scaled(OtherRun):
    """The run's own activation times a factor: 0 switches off, 1 changes nothing, -1 turns round."""

    factor: float
    everywhere = True

    def __call__(self, site: Site, base: Tensor, source: Tensor) -> Tensor:
        """Return the run's own activation times the factor."""
        return self.factor * base


@dataclass(frozen=True)
class Zero(Scaled):
    """Zero."""

    factor: float = 0.0

    def __call__(self, site: Site, base: Tensor, source: Tensor) -> Tensor:
        """Return zeros, where an activation is infinite too."""
        return torch.zeros_like(base)


@dataclass(frozen=True)
class Negative(Scaled):
    """The run's own activation with the other sign."""

    factor: float = -1.0


@dataclass(frozen=True)
class Value(OtherRun):
    """A number."""

    value: float
    everywhere = True

    def __call__(self, site: Site, base: Tensor, source: Tensor) -> Tensor:
        """Return the number everywhere."""
        return torch.full_like(base, self.value)


@dataclass(frozen=True)
class Mean(OtherRun):
    """The mean of a site over some text (`means.mean_over`), or over a corpus (`corpus.neuron_means`).

    Attributes
    ----------
    means
        By layer and site, [column].
    """

    means: Mapping[Site, Tensor]
    everywhere = True

    def __call__(self, site: Site, base: Tensor, source: Tensor) -> Tensor:
        """Return the site's mean at every position."""
        if site not in self.means:
            raise UserError(f"There is no mean of {site[1]} in layer {site[0]}; give one, or choose another put.")
        return self.means[site].to(base).expand_as(base)


OTHER_RUN = OtherRun()
