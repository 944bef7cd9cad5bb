"""Putting a source run's activations into rows of another run, at a site."""

import torch
from torch import Tensor

from an_neuron.model.places import Place
from an_neuron.patching.patches import Patches


def put(rows: Tensor, which: Tensor, patches: Patches, source: Tensor, place: Place | None) -> Tensor:
    """Return rows of a site's activation with each patch's part replaced by the source run's.

    Parameters
    ----------
    rows
        [row, pos, column], or [row, head, pos, key] for patterns; not changed.
    which
        The row of each patch, [patch].
    patches
        Patches of one site.
    source
        The source run's activation, [pos, column] or [head, pos, key].
    place
        Where the site is; its columns say which are a head's.
    """
    rows, items = rows.clone(), patches.items
    if patches.site == "post" and patches.pos is None:
        rows[which, :, items] = source[:, items].T
    elif patches.site == "post":
        rows[which, patches.pos, items] = source[patches.pos, items]
    elif patches.site != "pattern" and place is not None and place.columns is not None:
        columns = place.columns.to(rows.device)[items]  # [patch, d_head]
        at = torch.arange(rows.shape[1], device=rows.device)
        rows[which[:, None, None], at[:, None], columns[:, None]] = source[at[:, None], columns[:, None]]
    else:  # a position, or a head's pattern
        rows[which, items] = source[items]
    return rows
