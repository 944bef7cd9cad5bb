"""What float32 can tell of an effect: below it a recovery is rounding."""

import torch
from torch import Tensor

ROUNDINGS = 64
"""How many roundings of the logit difference still count as no effect; see `rounding_floor`."""


def rounding_floor(clean: Tensor, corrupted: Tensor) -> float:
    """Return the recovery below which an effect cannot be told from rounding.

    A recovery is a change of the logit difference divided by clean - corrupted. The logit difference is a float32
    number, so it is known to eps (1.2e-7) times its size at best. It is worse in fact: the two logits that are
    subtracted are several times as large as their difference (and not small where that is: hence a size of at least 1),
    and each is a sum over d_model products that many layers have rounded before. `ROUNDINGS` allows for both: in the
    orchard patches without any effect move the logit difference by up to 3.4 eps of it, and exact patching agrees with
    one forward per patch to about 1e-5 of the range.

    Parameters
    ----------
    clean, corrupted
        Logit differences without a patch, [prompt_pair]. Of several prompt pairs the mean counts, as for recovery.
    """
    size = torch.maximum(clean.abs(), corrupted.abs()).clamp(min=1).mean()
    change = (clean.mean() - corrupted.mean()).abs()
    return float(ROUNDINGS * torch.finfo(torch.float32).eps * size / change)
