"""Watching every neuron of some layers while a model reads a corpus.

What a batch adds to the statistics is worked out where the model runs, some neurons at a time on a CPU so that they
stay in its cache; BOS is left out.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from an_neuron.corpus.batches import Batch
from an_neuron.corpus.neuron_statistics import HIGH, LOW, N_BINS, N_PLACES, STEPS, ZERO_BIN, NeuronStatistics
from an_neuron.errors import UserError
from an_neuron.model.decoder import Decoder
from an_neuron.model.hooks import Hook, rows_apart

VALUES_AT_ONCE = 1 << 16
"""Activations that a CPU looks at at once: a quarter of a megabyte."""
TOKENS_TOGETHER = 32
"""Of which first only the largest activation is looked at, when the most activating places are sought."""
DROPPED_BITS = 23 - STEPS.bit_length() + 1
"""Bits of a float32 below those that say octave and step."""
LOWEST = (127 + LOW) * STEPS
"""What the others are at the lowest octave's beginning."""
EXPONENT_AND_STEP = 0x7FFFFFFF


class Seen(NamedTuple):
    """What was seen of some neurons in a batch; `place` counts its tokens from 0, row by row, BOS left out."""

    bin_count: Tensor  # [neuron, bin]
    power_sum: Tensor  # [neuron, power]
    least: Tensor  # [neuron]
    most: Tensor  # [neuron]
    activation: Tensor  # [neuron, place]
    place: Tensor  # [neuron, place]


class NeuronWatch:
    """Gathers statistics of every neuron of some layers.

    Parameters
    ----------
    decoder
        The model that reads.
    layers
        Which layers.

    Attributes
    ----------
    d_mlp
        How many neurons each has.
    statistics
        Of all rows that were added; None before the first.

    Raises
    ------
    UserError
        If a layer is not the model's or has no neurons of one MLP, or layers have different numbers of neurons.
    """

    def __init__(self, decoder: Decoder, layers: Sequence[int]) -> None:
        if beyond := [layer for layer in layers if layer >= decoder.n_layers]:
            raise UserError(f"There is no layer {beyond[0]}; the model has layers 0 to {decoder.n_layers - 1}.")
        numbers = [decoder.n_items(layer, "post") for layer in layers]
        sizes = {*map(str, numbers)}
        if len(sizes) > 1:
            raise UserError(
                f"Layers have different numbers of neurons, {' and '.join(sorted(sizes))}, which do not fit "
                "into one table; watch layers of one number.",
                "corpus: {neurons: [0]}",
            )
        self.layers, self.d_mlp, self._decoder = list(layers), numbers[0] or 0, decoder
        self.statistics: NeuronStatistics | None = None

    def hooks(self, batch: Batch, n_rows: int, seen: dict[int, Seen]) -> list[Hook]:
        """Return hooks that note in `seen` what each layer's neurons do in the kept rows of a batch of `n_rows`."""

        def note(layer: int, activation: Tensor) -> None:
            seen[layer] = _seen(activation[batch.kept, 1:])

        module = self._decoder.module
        return [(module(layer, "post"), "in", rows_apart(partial(note, layer), n_rows)) for layer in self.layers]

    def add(self, batch: Batch, n_ctx: int, seen: dict[int, Seen]) -> None:
        """Take what was seen in a batch, the next in the corpus.

        Raises
        ------
        UserError
            If an activation was no finite number.
        """
        by_layer = zip(*(seen[layer] for layer in self.layers), strict=True)
        columns = {name: np.stack(parts) for name, parts in zip(Seen._fields, by_layer, strict=True)}
        row, pos = np.divmod(columns.pop("place"), n_ctx - 1)
        self._check_finite(batch, columns["power_sum"])
        columns["power_sum"] = columns["power_sum"].astype(np.float64)  # MPS has none: there a batch is in float32
        later = NeuronStatistics(**columns, row=row + batch.first, pos=pos + 1)
        if self.statistics is None:
            self.statistics = later
        else:
            self.statistics.merge(later)

    def _check_finite(self, batch: Batch, power_sum: np.ndarray) -> None:
        if (wrong := np.argwhere(~np.isfinite(power_sum))).size:
            number, index, _ = wrong[0].tolist()
            raise UserError(
                f"Neuron {index} of layer {self.layers[number]} has an activation that is no finite number in rows "
                f"{batch.first} to {batch.upto - 1} of the corpus; the weights may be damaged."
            )


def chosen_layers(neurons: str | Sequence[int], n_layers: int) -> list[int]:
    """Return the layers that a configuration means: `all`, `none`, or a list of them."""
    if isinstance(neurons, str):
        return list(range(n_layers)) if neurons == "all" else []
    return sorted(neurons)


def _seen(activation: Tensor) -> Seen:
    """Return what there is to see in activations, [row, pos, neuron]; some neurons at a time on a CPU."""
    n_rows, n_pos, n_neurons = activation.shape
    at_once = max(1, VALUES_AT_ONCE // (n_rows * n_pos)) if activation.device.type == "cpu" else n_neurons
    by_neuron = (rearrange(part, "row pos neuron -> neuron (row pos)") for part in activation.split(at_once, dim=-1))
    parts = [_seen_at_once(part.float().contiguous()) for part in by_neuron]
    return Seen(*map(torch.cat, zip(*parts, strict=True)))


def _seen_at_once(activation: Tensor) -> Seen:
    return Seen(_counts(activation), _power_sums(activation), *torch.aminmax(activation, dim=1), *_places(activation))


def bins(activation: Tensor) -> Tensor:
    """Return the bin of each float32 activation, int32: `sided_bins` of `EDGES`, made of the float's own bits."""
    bits = activation.view(torch.int32) & EXPONENT_AND_STEP
    step = bits.sub_(1).bitwise_right_shift_(DROPPED_BITS).sub_(LOWEST - 2)  # 2 is the first of the lowest octave
    step.clamp_(1, 2 + STEPS * (HIGH - LOW))
    return step.mul_(torch.sign(activation).to(torch.int32)).add_(ZERO_BIN).clamp_(0, N_BINS - 1)


def _counts(activation: Tensor) -> Tensor:
    """Return how many of each neuron's activations are in each bin, [neuron, bin]."""
    first = torch.arange(len(activation), dtype=torch.int32, device=activation.device)[:, None] * N_BINS
    counted = torch.bincount(bins(activation).add_(first).flatten(), minlength=len(activation) * N_BINS)
    return counted.view(-1, N_BINS).to(torch.int32)


def _power_sums(activation: Tensor) -> Tensor:
    """Return the sums of the activations' powers 1 to 4, [neuron, power], in float64 where the device has it."""
    one = activation if activation.device.type == "mps" else activation.double()
    two = one * one
    fourth, third = torch.linalg.vecdot(two, two), torch.linalg.vecdot(two, one)
    return torch.stack([one.sum(1), two.sum(1), third, fourth], dim=1)


def _places(activation: Tensor) -> tuple[Tensor, Tensor]:
    """Return each neuron's largest activations and where they are, of equal ones the first, both [neuron, place].

    They are in the groups of neighbouring tokens whose largest ones are largest; only those groups are sorted.
    """
    room = -activation.shape[1] % TOKENS_TOGETHER
    grouped = torch.nn.functional.pad(activation, (0, room), value=-torch.inf).unflatten(1, (-1, TOKENS_TOGETHER))
    best = grouped.amax(2).sort(dim=1, descending=True, stable=True).indices[:, :N_PLACES].sort(dim=1).values
    values = grouped.take_along_dim(best[:, :, None], dim=1).flatten(1)  # of the best groups, in the corpus' order
    inside = torch.arange(TOKENS_TOGETHER, device=activation.device)
    place = (best[:, :, None] * TOKENS_TOGETHER + inside).flatten(1)
    number = min(N_PLACES, activation.shape[1])
    order = values.sort(dim=1, descending=True, stable=True).indices[:, :number]
    return values.gather(1, order), place.gather(1, order)
