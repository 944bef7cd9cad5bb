"""Rows in each of which any number of places are changed at once.

A sweep has one patch in each row. Here a row is a set of them, over any layers and sites: the best k neurons together,
all but those, a neuron at twenty values.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from an_neuron.errors import UserError

NODE_SITES = ("resid_pre", "attn_out", "mlp_out", "q", "k", "v", "z", "post")
"""Sites that can be changed together with others: what is put in is an activation, whatever came before."""
Source = Callable[[int, str], Tensor]
"""What is put in at a layer's site, from the first changed position on: [pos, column]."""


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

    def of(self, which: slice) -> "Change":
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

    def of(self, which: slice) -> "Rows":
        """Return some of the rows."""
        return Rows(len(range(self.number)[which]), tuple(change.of(which) for change in self.changes))

    def split(self, at: int) -> tuple["Rows", "Rows"]:
        """Return the first `at` rows, and the others."""
        return self.of(slice(at)), self.of(slice(at, None))

    def at(self, layer: int) -> list[Change]:
        """Return the changes in a layer."""
        return [change for change in self.changes if change.layer == layer]


def rows_of(
    sets: Sequence[Collection[Node]],
    source: Source,
    columns: Callable[[int, str], Tensor | None],
    all_but: Iterable[tuple[int, str]] = (),
) -> Rows:
    """Return a row for each set of nodes.

    Parameters
    ----------
    sets
        The nodes that are changed in each row.
    source
        What is put in.
    columns
        Which columns are each head's, [head, d_head]; None where a site has no heads.
    all_but
        Layers and sites in which, instead, everything is changed that is not in the row's set.
    """
    whole = list(all_but)
    by_site: dict[tuple[int, str], list[tuple[int, Node]]] = {site: [] for site in whole}
    for row, nodes in enumerate(sets):
        for node in nodes:
            by_site.setdefault((node.layer, node.site), []).append((row, node))
    changes = []
    for (layer, site), wanted in sorted(by_site.items()):
        values = source(layer, site)
        n_positions = len(values) if any(node.position is not None for _, node in wanted) else 1
        width = values.shape[-1] if columns(layer, site) is not None or site == "post" else 1
        mask = torch.zeros(len(sets), n_positions, width, dtype=torch.bool, device=values.device)
        for row, node in wanted:
            mask[row, _positions(node, n_positions)] |= _part(node, width, columns(layer, site), values.device)
        changes.append(Change(layer, site, ~mask if (layer, site) in whole else mask, values[None]))
    return Rows(len(sets), tuple(changes))


def _positions(node: Node, n_positions: int) -> slice:
    if node.position is None:
        return slice(None)
    if not -n_positions <= node.position < 0:
        raise UserError(
            f"{node.name} cannot be changed at position {node.position}: positions count from the prompt's end (-1), "
            f"and before {-n_positions} the two prompts are the same."
        )
    return slice(n_positions + node.position, n_positions + node.position + 1)


def _part(node: Node, width: int, columns: Tensor | None, device: torch.device) -> Tensor:
    """Return which columns are a node's, [column]."""
    part = torch.zeros(width, dtype=torch.bool, device=device)
    if node.site == "post":
        part[node.item] = True
    elif columns is None:
        part[:] = True
    else:
        part[columns[node.item].to(device)] = True
    return part
