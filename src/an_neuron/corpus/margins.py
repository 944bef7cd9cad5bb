"""A token's margin over all others, and a choice between two tokens.

The logits exist a block of the vocabulary at a time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

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


def read_logits(
    blocks: Iterable[tuple[int, Tensor]], tokens: Sequence[tuple[int, ...]], choice: tuple[int, int] | None = None
) -> tuple[Tensor, ...]:
    """Return each token's margin over the largest other logit and the id of the largest logit, the first of equal ones.

    The margin of a group of tokens is that of its largest logit over the largest one outside the group.

    Parameters
    ----------
    blocks
        The first token id of each block of the vocabulary and the block's logits, [position, block]; they are
        overwritten.
    tokens
        The ids of each token alone, or of each group.
    choice
        The ids of an answer and a foil.

    Returns
    -------
    tuple of Tensor
        Margins [token, position] and ids [position]; with a choice also logit(answer) - logit(foil) and
        p(answer) + p(foil), each [position]. NaN where any logit is, but for the difference of two that are numbers.
    """
    logit: dict[int, Tensor] = {}
    outside: dict[tuple[int, ...], Tensor] = {}  # the largest logit outside each group
    best: TwoLargest | None = None
    total: Tensor | None = None  # logarithm of the sum of the exponentials
    wanted, groups = {*chain(*tokens), *(choice or ())}, [ids for ids in tokens if len(ids) > 1]
    for start, logits in blocks:
        logit |= {token: logits[:, token - start].clone() for token in wanted if 0 <= token - start < logits.shape[1]}
        for ids in groups:
            others = _largest_without(logits, [token - start for token in ids])
            outside[ids] = torch.maximum(outside.get(ids, others), others)
        block = TwoLargest.of_block(logits, start)
        if choice:
            part = _log_sum_of_exponentials(logits, block.largest)
            total = part if total is None else torch.logaddexp(total, part)
        best = block if best is None else best.merged(block)
    if best is None:
        raise ValueError("there are no logits")
    for (token,) in (ids for ids in tokens if len(ids) == 1):
        outside[(token,)] = torch.where(best.token == token, best.second, best.largest)
    margins = [torch.stack([logit[token] for token in ids]).amax(0) - outside[ids] for ids in tokens]
    if choice is None or total is None:
        return torch.stack(margins), best.token
    answer, foil = (logit[token] for token in choice)
    return torch.stack(margins), best.token, answer - foil, (answer - total).exp() + (foil - total).exp()


def _largest_without(logits: Tensor, columns: Sequence[int]) -> Tensor:
    """Return the largest logit of each position, [position, block] to [position], without columns that may be there."""
    there = [column for column in columns if 0 <= column < logits.shape[1]]
    held = logits[:, there].clone()
    logits[:, there] = -torch.inf
    largest = logits.amax(-1)
    logits[:, there] = held
    return largest


def _log_sum_of_exponentials(others: Tensor, largest: Tensor) -> Tensor:
    """Return that of logits, [position, block], whose largest one was taken out; they are overwritten.

    As `logsumexp` of all of them, in a third of the time.
    """
    shift = largest.clamp(min=torch.finfo(largest.dtype).min)  # a block may hold nothing but minus infinity
    return shift + (others.sub_(shift[:, None]).exp_().sum(-1) + (largest - shift).exp()).log()
