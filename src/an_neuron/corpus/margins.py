"""A token's margin over all other tokens, from logits that exist a block of the vocabulary at a time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TwoLargest:
    """The two largest logits of each position and the token of the largest, the first of equal ones, each [position].

    NaN counts as the largest: `max` and `maximum` hand it on, and no comparison with it holds. A token whose logit is
    NaN is `token`, or else a later block has taken its place and `second` is NaN too; so every margin of the position
    is NaN, and is noticed.
    """

    largest: Tensor
    second: Tensor
    token: Tensor

    @classmethod
    def of_block(cls, logits: Tensor, first_token: int) -> "TwoLargest":
        """Find them in the logits [position, block] of tokens from `first_token` on; the logits are overwritten."""
        largest, index = logits.max(-1)
        second = logits.scatter_(-1, index[:, None], -torch.inf).amax(-1)
        return cls(largest, second, index + first_token)

    def merged(self, later: "TwoLargest") -> "TwoLargest":
        """Return the two largest of this block and a later one; of equal ones the earlier is the largest."""
        rises = ~(later.largest <= self.largest)  # not `>`, which NaN would not pass
        beaten = torch.where(rises, self.largest, later.largest)
        runner_up = torch.where(rises, later.second, self.second)
        return TwoLargest(
            torch.maximum(self.largest, later.largest),
            torch.maximum(beaten, runner_up),
            torch.where(rises, later.token, self.token),
        )


def margins_and_top(blocks: Iterable[tuple[int, Tensor]], tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return each token's margin over the largest other logit and the id of the largest logit, the first of equal ones.

    Parameters
    ----------
    blocks
        The first token id of each block of the vocabulary and the block's logits, [position, block]; they are
        overwritten.
    tokens
        Token ids.

    Returns
    -------
    tuple of Tensor
        Margins [token, position] and ids [position]; NaN where any logit is.
    """
    logit: dict[int, Tensor] = {}
    best: TwoLargest | None = None
    for start, logits in blocks:
        logit |= {token: logits[:, token - start].clone() for token in tokens if 0 <= token - start < logits.shape[1]}
        block = TwoLargest.of_block(logits, start)
        best = block if best is None else best.merged(block)
    if best is None:
        raise ValueError("there are no logits")
    margins = [logit[token] - torch.where(best.token == token, best.second, best.largest) for token in tokens]
    return torch.stack(margins), best.token
