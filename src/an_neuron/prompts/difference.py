"""The quantity that all of a study measures."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def logit_difference(logits: "Tensor", answer: int, foil: int) -> "Tensor":
    """Return logit(answer) - logit(foil), [...], of logits [..., d_vocab]."""
    return logits[..., answer] - logits[..., foil]
