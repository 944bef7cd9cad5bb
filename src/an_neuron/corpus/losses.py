"""Next-token losses and some tokens' probabilities, from logits that exist a block of the vocabulary at a time."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def read_losses(
    blocks: Iterable[tuple[int, Tensor]], following: Tensor, tokens: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what logits say of the token that follows, and of some tokens.

    Parameters
    ----------
    blocks
        The first token id of each block of the vocabulary and the block's logits, [position, block]; they are
        overwritten.
    following
        The token id that follows at each position, [position].
    tokens
        Token ids.

    Returns
    -------
    tuple of Tensor
        The loss -log p(following) in nats, [position]; log p of each of the tokens and their logits, both
        [token, position]. NaN where any logit is.
    """
    logit: dict[int, Tensor] = {}
    of_following = torch.full(following.shape, torch.nan, device=following.device)
    total = torch.full_like(of_following, -torch.inf)  # logarithm of the sum of the exponentials
    for start, logits in blocks:
        width = logits.shape[1]
        logit |= {token: logits[:, token - start].clone() for token in tokens if 0 <= token - start < width}
        there = logits.gather(-1, (following - start).clamp(0, width - 1)[:, None])[:, 0]
        of_following = torch.where((following >= start) & (following < start + width), there, of_following)
        total = torch.logaddexp(total, _log_sum_of_exponentials(logits))
    logits = torch.stack([logit[token] for token in tokens])
    return total - of_following, logits - total, logits


def _log_sum_of_exponentials(logits: Tensor) -> Tensor:
    """Return that of logits, [position, block], which are overwritten; in a third of the time of `logsumexp`."""
    shift = logits.amax(-1).clamp(min=torch.finfo(logits.dtype).min)  # a block may hold nothing but minus infinity
    return shift + logits.sub_(shift[:, None]).exp_().sum(-1).log()
