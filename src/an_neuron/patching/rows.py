"""Rows in each of which any number of places are changed at once.

A sweep has one patch in each row. Here a row is a set of them, over any layers and sites: the best k neurons together,
all but those, a neuron at twenty values.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.model.blocks import Blocks
from an_neuron.model.hooks import Hook, rows_apart

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

    def entering(self, layer: int, stream: Tensor) -> Tensor:
        """Return what enters a layer's block, [row, pos, d_model], with the changes there."""
        for change in self.changes:
            if (change.layer, change.site) == (layer, "resid_pre"):
                stream = change.put(stream)
        return stream

    def hooks(self, layer: int, model: Blocks) -> list[Hook]:
        """Return the hooks that put in the changes inside a layer's block."""
        inside = [change for change in self.changes if change.layer == layer and change.site != "resid_pre"]
        return [
            (model.module(layer, change.site), model.place(layer, change.site).end, rows_apart(change.put, len(self)))
            for change in inside
        ]


@dataclass(frozen=True)
class AllBut:
    """Everything of some layers' sites but for some nodes.

    Attributes
    ----------
    nodes
        What is left as it is, at all positions.
    sites
        Layers and sites of which everything else is changed.
    """

    nodes: Collection[Node]
    sites: Collection[tuple[int, str]]


Set = Collection[Node] | AllBut
"""What is changed in a row."""


def nodes_of(one: Set) -> Collection[Node]:
    """Return the nodes that a set names."""
    return one.nodes if isinstance(one, AllBut) else one


def sites_of(sets: Iterable[Set]) -> set[tuple[int, str]]:
    """Return all layers and sites in which some sets change anything."""
    named = {(node.layer, node.site) for one in sets for node in nodes_of(one)}
    return named | {site for one in sets if isinstance(one, AllBut) for site in one.sites}


def rows_of(
    sets: Sequence[Set], sites: Iterable[tuple[int, str]], source: Source, columns: Callable[[int, str], Tensor | None]
) -> Rows:
    """Return a row for each set.

    Parameters
    ----------
    sets
        What is changed in each row.
    sites
        Layers and sites in which anything is changed, of `sites_of`.
    source
        What is put in.
    columns
        Which columns are each head's, [head, d_head]; None where a site has no heads.
    """
    changes = []
    for layer, site in sorted(sites):
        values, heads = source(layer, site), columns(layer, site)
        named = [[node for node in nodes_of(one) if (node.layer, node.site) == (layer, site)] for one in sets]
        n_positions = len(values) if any(node.position is not None for nodes in named for node in nodes) else 1
        width = values.shape[-1] if heads is not None or site == "post" else 1
        mask = torch.zeros(len(sets), n_positions, width, dtype=torch.bool, device=values.device)
        for row, nodes in enumerate(named):
            for node in nodes:
                mask[row, _positions(node, n_positions)] |= _part(node, width, heads, values.device)
        others = [isinstance(one, AllBut) and (layer, site) in one.sites for one in sets]
        mask ^= torch.tensor(others, device=values.device)[:, None, None]
        changes.append(Change(layer, site, mask, values[None]))
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
