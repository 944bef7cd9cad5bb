"""Rows in each of which any number of places are changed at once.

A sweep has one patch in each row. Here a row is a set of them, over any layers and sites: the best k neurons together,
all but those (`sets`), a neuron at twenty values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from an_neuron.model.blocks import Blocks
from an_neuron.model.hooks import Hook, rows_apart

NODE_SITES = ("resid_pre", "attn_out", "mlp_out", "q", "k", "v", "z", "post")
"""Sites that can be changed together with others: what is put in is an activation, whatever came before."""
NEVER = 1 << 30
"""The first changed layer of a row in which nothing is changed."""


@dataclass(frozen=True, order=True)
class Node:
    """A place in a model: a neuron, a head, or a whole site.

    Attributes
    ----------
    layer, site
        Where: post for neurons, z (or q, k, v) for heads, resid_pre, attn_out or mlp_out as a whole.
    item
        The neuron or head; 0 for a whole site.
    position
        From the prompt's end, -1 is the last; None for all.
    """

    layer: int
    site: str
    item: int = 0
    position: int | None = None

    @property
    def name(self) -> str:
        """Return layer.index, with what it is where that is no neuron: "25.1527", "head 23.0", "mlp_out 3"."""
        named = f"{self.layer}.{self.item}"
        if self.site in ("q", "k", "v"):
            return f"{self.site} of head {named}"
        return {"post": named, "z": f"head {named}"}.get(self.site, f"{self.site} {self.layer}")


@dataclass(frozen=True)
class Change:
    """What is put in at one site, in each of some rows.

    Attributes
    ----------
    layer, site
        Where.
    mask
        Which part of the activation is changed, [row, pos, column]; pos or column is 1 where all are alike.
    values
        To what, of a shape that broadcasts to the mask's and the activation's.
    """

    layer: int
    site: str
    mask: Tensor
    values: Tensor

    def of(self, which: slice | Sequence[int]) -> "Change":
        """Return the change in some of the rows."""
        values = self.values[which] if len(self.values) > 1 else self.values
        return replace(self, mask=self.mask[which], values=values)

    def put(self, activation: Tensor, start: int = 0) -> Tensor:
        """Return an activation, [row, pos, column], whose positions from a first one on are changed."""
        changed = torch.where(self.mask, self.values.to(activation), activation[:, start:])
        return torch.cat([activation[:, :start], changed], dim=1) if start else changed


@dataclass(frozen=True)
class Rows:
    """So many rows, and what is changed in them."""

    number: int
    changes: tuple[Change, ...]

    def __len__(self) -> int:
        return self.number

    def of(self, which: slice | Sequence[int]) -> "Rows":
        """Return some of the rows, by a slice or by their numbers."""
        number = len(range(self.number)[which]) if isinstance(which, slice) else len(which)
        return Rows(number, tuple(change.of(which) for change in self.changes))

    def split(self, at: int) -> tuple["Rows", "Rows"]:
        """Return the first `at` rows, and the others."""
        return self.of(slice(at)), self.of(slice(at, None))

    def first_layers(self) -> list[int]:
        """Return the first layer in which each row is changed; `NEVER` where nothing is."""
        first = torch.full((self.number,), NEVER)
        for change in self.changes:
            changed = change.mask.flatten(1).any(1).cpu()
            first[changed] = first[changed].clamp(max=change.layer)
        found: list[int] = first.tolist()
        return found

    def alike(self) -> list[int]:
        """Return for each row the first one in which the same is changed."""
        if any(len(change.values) > 1 for change in self.changes):
            return [*range(self.number)]
        masks = [change.mask.flatten(1).cpu().numpy() for change in self.changes]
        seen: dict[bytes, int] = {}
        return [seen.setdefault(b"".join(mask[row].tobytes() for mask in masks), row) for row in range(self.number)]

    def entering(self, layer: int, stream: Tensor) -> Tensor:
        """Return what enters a layer's block in the first rows, [row, pos, d_model], with the changes there."""
        for change in self.changes:
            if (change.layer, change.site) == (layer, "resid_pre"):
                stream = change.of(slice(len(stream))).put(stream)
        return stream

    def hooks(self, layer: int, model: Blocks, number: int) -> list[Hook]:
        """Return the hooks that put in the changes inside a layer's block, for so many rows, the first ones."""
        inside = [change for change in self.changes if change.layer == layer and change.site != "resid_pre"]
        return [
            (
                model.module(layer, change.site),
                model.place(layer, change.site).end,
                rows_apart(change.of(slice(number)).put, number),
            )
            for change in inside
        ]
