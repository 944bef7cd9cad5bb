"""Patches of one site of one layer, and which of a wave's rows are theirs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from an_neuron.model.places import HEAD_SITES

NOTHING = "nothing"
"""A row like the base run, which must end where that does."""
INSIDE = ("resid_mid", "attn_out", *HEAD_SITES)
"""Sites inside a block, that are patched while it runs."""
LEAVING = ("mlp_out", "post")
"""Sites (post: neurons) that, as a rule, only change what leaves the block, so that it need not run."""


@dataclass(frozen=True)
class Patches:
    """Patches of one site of one layer, a row each.

    Attributes
    ----------
    items
        Positions (counted from p0), heads, or neurons, [row].
    pos
        For neurons: the one position (counted from p0) that is patched, [row]; all positions if None.
    runs_block
        Whether the rows run through the layer's own block even though the site is one of `LEAVING`.
    """

    layer: int
    site: str
    items: Tensor
    pos: Tensor | None = None
    runs_block: bool = False

    def __len__(self) -> int:
        return len(self.items)

    @property
    def enters(self) -> bool:
        """Whether the rows run through the layer's own block."""
        return self.site not in LEAVING or self.runs_block

    @property
    def inside(self) -> bool:
        """Whether the patches are put in while the layer's block runs."""
        return self.site in INSIDE or self.runs_block

    @property
    def rank(self) -> tuple[int, bool]:
        """Place in a wave: by layer, and what enters a layer before what leaves it."""
        return self.layer, not self.enters

    def of(self, which: Tensor | slice) -> "Patches":
        """Return some of the patches."""
        return replace(self, items=self.items[which], pos=None if self.pos is None else self.pos[which])

    def split(self, at: int) -> tuple["Patches", "Patches"]:
        """Return the first `at` patches, and the others."""
        return self.of(slice(at)), self.of(slice(at, None))


@dataclass(frozen=True)
class Live:
    """Patches on their way through the blocks, and which of the wave's rows are theirs."""

    rows: slice
    patches: Patches

    def index(self, activation: Tensor) -> Tensor:
        """Return each patch's row in a wave's activation, [row]."""
        return torch.arange(self.rows.start, self.rows.stop, device=activation.device)


def live(patches: Sequence[Patches]) -> Iterator[Live]:
    """Give the patches of a wave their rows, in their order."""
    stops = accumulate(map(len, patches))
    return (Live(slice(stop - len(each), stop), each) for each, stop in zip(patches, stops, strict=True))
