"""Sets of places: the best k neurons and heads together, or everything of some sites but those.

Their layers and sites are found once, for all prompt pairs; each set is then a row (`rows`).
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.patching.rows import Change, Node, Rows

Source = Callable[[int, str], Tensor]
"""What is put in at a layer's site, from the first changed position on: [pos, column]."""


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


@dataclass(frozen=True)
class Selection:
    """Sets of nodes by their layers and sites, made once for all prompt pairs.

    Attributes
    ----------
    number
        How many sets there are.
    nodes
        By layer and site, of each node that a set names: the set's number, its item and its position.
    others
        By layer and site, in which sets everything else is changed, [set].
    """

    number: int
    nodes: Mapping[tuple[int, str], tuple[Tensor, Tensor, list[int | None]]]
    others: Mapping[tuple[int, str], Tensor]

    @property
    def sites(self) -> set[tuple[int, str]]:
        """All layers and sites in which anything is changed."""
        return {*self.nodes, *self.others}


def select(sets: Sequence[Set]) -> Selection:
    """Return sets of nodes by their layers and sites."""
    named: dict[tuple[int, str], list[tuple[int, Node]]] = {}
    others: dict[tuple[int, str], list[int]] = {}
    for number, one in enumerate(sets):
        for node in nodes_of(one):
            named.setdefault((node.layer, node.site), []).append((number, node))
        for site in one.sites if isinstance(one, AllBut) else ():
            others.setdefault(site, []).append(number)
    return Selection(
        len(sets),
        {
            site: (
                torch.tensor([number for number, _ in nodes]),
                torch.tensor([node.item for _, node in nodes]),
                [node.position for _, node in nodes],
            )
            for site, nodes in named.items()
        },
        {
            site: torch.zeros(len(sets), dtype=torch.bool).index_fill(0, torch.tensor(numbers), True)
            for site, numbers in others.items()
        },
    )


def rows_of(selection: Selection, source: Source, columns: Callable[[int, str], Tensor | None]) -> Rows:
    """Return a row for each set.

    Parameters
    ----------
    selection
        What is changed in each row.
    source
        What is put in.
    columns
        Which columns are each head's, [head, d_head]; None where a site has no heads.
    """
    changes = []
    for layer, site in sorted(selection.sites):
        values, heads = source(layer, site), columns(layer, site)
        mask = _mask(selection, (layer, site), values, heads)
        if (layer, site) in selection.others:
            mask ^= selection.others[layer, site].to(mask.device)[:, None, None]
        changes.append(Change(layer, site, mask, values[None]))
    return Rows(selection.number, tuple(changes))


def _mask(selection: Selection, site: tuple[int, str], values: Tensor, heads: Tensor | None) -> Tensor:
    """Return which part of a site's activation the nodes of each set are, [set, pos or 1, column or 1]."""
    nothing = torch.empty(0, dtype=torch.long)
    numbers, items, positions = selection.nodes.get(site, (nothing, nothing, []))
    placed = any(position is not None for position in positions)
    width = values.shape[-1] if heads is not None or site[1] == "post" else 1
    mask = torch.zeros(selection.number, len(values) if placed else 1, width, dtype=torch.bool, device=values.device)
    numbers, items = numbers.to(values.device), items.to(values.device)
    if heads is not None:  # the columns of each node's head, one after the other
        heads = heads.to(values.device)
        numbers, items = numbers.repeat_interleave(heads.shape[1]), heads[items].flatten()
        positions = [position for position in positions for _ in range(heads.shape[1])] if placed else positions
    elif width == 1:
        items = torch.zeros_like(items)
    if not placed:
        mask[numbers, 0, items] = True
        return mask
    for number, item, position in zip(numbers.tolist(), items.tolist(), positions, strict=True):
        mask[number, _positions(site, position, len(values)), item] = True
    return mask


def _positions(site: tuple[int, str], position: int | None, n_positions: int) -> slice:
    if position is None:
        return slice(None)
    if not -n_positions <= position < 0:
        raise UserError(
            f"Nothing can be changed at position {position} of {site[1]} in layer {site[0]}: positions count from the "
            f"prompt's end (-1), and before {-n_positions} the two prompts are the same."
        )
    return slice(n_positions + position, n_positions + position + 1)
