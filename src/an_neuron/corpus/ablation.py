"""One pass over a corpus with and without the studied neurons; of each row only sums are kept."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from an_neuron.corpus.ablations import QUANTITIES, Ablation
from an_neuron.corpus.ablator import Ablator
from an_neuron.corpus.corpus_pass import checked_ids, read_rows
from an_neuron.errors import UserError


def ablate(ablator: Ablator, rows: Any, size: int | None = None) -> Ablation:
    """Read all rows of a corpus with and without each association's neuron.

    Parameters
    ----------
    ablator
        The model.
    rows
        Token ids, [row, pos]: an array or an open HDF5 dataset, of which only a batch is read at a time.
    size
        How many rows run at once; what suits the device if not given.

    Raises
    ------
    UserError
        If a token id is not in the vocabulary, a loss is not finite, not even a row fits the device, or the first
        row's losses are not those of plain forwards of the whole model.
    """
    ids = torch.from_numpy(checked_ids(ablator, rows[:1], 0).astype(np.int64)).to(ablator.device)
    expected = ablator.plain_losses(ids)
    ablator.choose_way(ids, expected)
    spot_check, batches = 0.0, []
    for batch, parts in read_rows(ablator, rows, size=size, what="ablation"):
        loss = parts[0]
        if batch.first == 0:
            spot_check = ablator.check(torch.from_numpy(loss[..., :1, :]), expected.cpu())
        _check_finite(loss, batch.first)
        read = dict(zip(QUANTITIES, parts, strict=True))
        batches.append(dict(_row_sums(places(ablator, rows[batch.first : batch.upto]), read)))
    sums = {name: np.concatenate([one[name] for one in batches], axis=-2) for name in batches[0]}
    other = [one.token_ids != ablator.associations[0].token_ids for one in ablator.associations]
    for name in ("logit_difference", "logit_difference_change"):
        sums[name][other] = np.nan
    return Ablation(sums, ablator.way, spot_check)


def places(ablator: Ablator, rows: np.ndarray) -> np.ndarray:
    """Return which of `PLACES` each position but a row's last is, [association, row, pos, place] booleans.

    The foil is a place of its own for the answer's associations alone.
    """
    following, answer = rows[:, 1:], ablator.associations[0].token_ids
    kinds = []
    for one in ablator.associations:
        token = np.isin(following, one.token_ids)
        foil = (following == ablator.foil) & ~token & (one.token_ids == answer)
        kinds.append(np.stack([token, foil, ~(token | foil)], axis=-1))
    return np.stack(kinds)


def _row_sums(place: np.ndarray, read: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each field's name and its sums over the places of each row.

    Parameters
    ----------
    place
        [association, row, pos, place] booleans.
    read
        Each quantity, [association, run, row, pos], the unablated run first.
    """
    weight = place.astype(np.float64)
    yield "count", place.sum(2)
    for name, values in read.items():
        values = values.astype(np.float64)
        yield name, np.einsum("arp,arpk->ark", values[:, 0], weight)
        yield f"{name}_change", np.einsum("airp,arpk->airk", values[:, 1:] - values[:, :1], weight)


def _check_finite(loss: np.ndarray, first_row: int) -> None:
    """Stop at the first loss, [association, run, row, pos], that is not a finite number."""
    if (wrong := np.argwhere(~np.isfinite(loss))).size:
        *_, row, pos = place = wrong[0].tolist()
        raise UserError(
            f"The loss is {float(loss[tuple(place)])} in row {first_row + row} of the corpus at position {pos}; the "
            "weights may be damaged."
        )
