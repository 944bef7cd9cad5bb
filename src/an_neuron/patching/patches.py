"""Patches of one site of one layer, and which of a wave's rows are theirs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from an_neuron.model.decoder import HEAD_SITES

CONTROLS = ("nothing", "everything")
"""A row like the base run, and one whose whole residual stream is the source run's: both must end where those do."""
INSIDE = ("resid_mid", "attn_out", *HEAD_SITES)
"""Sites inside a block, that are patched while it runs."""
ENTERING = (*CONTROLS, "resid_pre", *INSIDE)
"""Sites whose rows run through the layer's own block; mlp_out and post (neurons) only change what leaves it."""


@dataclass(frozen=True)
class Patches:
    """Patches of one site of one layer, a row each.

    Attributes
    ----------
    items
        Positions (counted from p0), heads, or neurons, [row].
    pos
        For neurons: the one position (counted from p0) that is patched, [row]; all positions if None.
    """

    layer: int
    site: str
    items: Tensor
    pos: Tensor | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def enters(self) -> bool:
        """Whether the rows run through the layer's own block."""
        return self.site in ENTERING

    @property
    def rank(self) -> tuple[int, bool]:
        """Place in a wave: by layer, and what enters a layer before what leaves it."""
        return self.layer, not self.enters

    def of(self, which: Tensor | slice) -> "Patches":
        """Return some of the patches."""
        return Patches(self.layer, self.site, self.items[which], None if self.pos is None else self.pos[which])

    def split(self, at: int) -> tuple["Patches", "Patches"]:
        """Return the first `at` patches, and the others."""
        return self.of(slice(at)), self.of(slice(at, None))


@dataclass(frozen=True)
class Live:
    """Patches on their way through the blocks, and which of the wave's rows are theirs."""

    rows: slice
    patches: Patches

    def places(self, activation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the index of each patch's row and item in an activation [row, item, ...]."""
        return torch.arange(self.rows.start, self.rows.stop, device=activation.device), self.patches.items


def live(patches: Sequence[Patches]) -> Iterator[Live]:
    """Give the patches of a wave their rows, in their order."""
    stops = accumulate(map(len, patches))
    return (Live(slice(stop - len(each), stop), each) for each, stop in zip(patches, stops, strict=True))
