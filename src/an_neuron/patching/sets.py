"""Sets of places: the best k neurons and heads together, or everything of some sites but those.

Their layers and sites are found once, for all prompt pairs; each set is then a row (`rows`).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.patching.rows import Change, Node, Rows
from an_neuron.patching.runs import Site

Source = Callable[[int, str], Tensor]
"""What is put in at a layer's site, from the first changed position on: [pos, column]."""
ALL = 1 << 30
"""Stands for all positions where a position is a number."""


@dataclass(frozen=True)
class Places:
    """The nodes of one site, in an order.

    Attributes
    ----------
    ranks
        Their numbers among the nodes of all sites, ascending, [node].
    items, positions
        Their items and positions, [node].
    """

    ranks: np.ndarray
    items: np.ndarray
    positions: np.ndarray


class Ordered:
    """Nodes in an order, of which the first ones are a set: where they are is looked up once for all such sets.

    Parameters
    ----------
    nodes
        The nodes.

    Attributes
    ----------
    places
        By layer and site.
    """

    def __init__(self, nodes: Collection[Node]) -> None:
        self.nodes = nodes
        by_site: defaultdict[Site, list[tuple[int, int, int]]] = defaultdict(list)
        for rank, node in enumerate(nodes):
            position = ALL if node.position is None else node.position
            by_site[node.layer, node.site].append((rank, node.item, position))
        self.places = {site: Places(*np.array(placed).T) for site, placed in by_site.items()}

    def first(self, number: int) -> "First":
        """Return the first so many nodes."""
        return First(self, number)


@dataclass(frozen=True, eq=False)
class First:
    """The first so many of ordered nodes."""

    ordered: Ordered
    number: int

    def __iter__(self) -> Iterator[Node]:
        return (node for node, _ in zip(self.ordered.nodes, range(self.number), strict=False))


Nodes = Collection[Node] | First


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

    nodes: Nodes
    sites: Collection[Site]


Set = Nodes | AllBut
"""What is changed in a row."""


def first_of(one: Set) -> First:
    """Return the nodes that a set names."""
    nodes = one.nodes if isinstance(one, AllBut) else one
    return nodes if isinstance(nodes, First) else Ordered(nodes).first(len(nodes))


@dataclass(frozen=True)
class Selection:
    """Sets of nodes by their layers and sites, made once for all prompt pairs.

    Attributes
    ----------
    number
        How many sets there are.
    nodes
        By layer and site, of each node that a set names: the set's number, its item and its position, [node] each.
    others
        By layer and site, in which sets everything else is changed, [set].
    """

    number: int
    nodes: Mapping[Site, tuple[Tensor, Tensor, Tensor]]
    others: Mapping[Site, Tensor]
    _masks: dict[tuple[Site, int], Tensor] = field(default_factory=dict)

    @property
    def sites(self) -> set[Site]:
        """All layers and sites in which anything is changed."""
        return {*self.nodes, *self.others}

    def mask(self, site: Site, values: Tensor, heads: Tensor | None) -> Tensor:
        """Return which part of a site's activation is changed in each set, [set, pos or 1, column or 1].

        It is kept, and serves all prompt pairs that change equally many positions.
        """
        nothing = torch.empty(0, dtype=torch.long)
        numbers, items, positions = self.nodes.get(site, (nothing, nothing, nothing))
        n_positions = len(values) if bool((positions != ALL).any()) else 1
        if (site, n_positions) not in self._masks:
            width = values.shape[-1] if heads is not None or site[1] == "post" else 1
            if heads is not None:  # the columns of each node's head, one after the other
                n_columns, items = heads.shape[1], heads.cpu()[items].flatten()
                numbers, positions = (each.repeat_interleave(n_columns) for each in (numbers, positions))
            mask = torch.zeros(self.number, n_positions, width, dtype=torch.bool)
            _mark(mask, site, (numbers, items if width > 1 else torch.zeros_like(items), positions))
            if site in self.others:
                mask ^= self.others[site][:, None, None]
            self._masks[site, n_positions] = mask.to(values.device)
        return self._masks[site, n_positions]


def select(sets: Sequence[Set]) -> Selection:
    """Return sets of nodes by their layers and sites."""
    named: defaultdict[Site, list[tuple[int, Places, int]]] = defaultdict(list)
    others: defaultdict[Site, list[int]] = defaultdict(list)
    for number, one in enumerate(sets):
        first = first_of(one)
        for site, places in first.ordered.places.items():
            if count := int(np.searchsorted(places.ranks, first.number)):
                named[site].append((number, places, count))
        for site in one.sites if isinstance(one, AllBut) else ():
            others[site].append(number)
    every = torch.zeros(len(sets), dtype=torch.bool)
    return Selection(
        len(sets),
        {site: _joined(parts) for site, parts in named.items()},
        {site: every.index_fill(0, torch.tensor(numbers), True) for site, numbers in others.items()},
    )


def _joined(parts: Sequence[tuple[int, Places, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Return set, item and position of each node of a site, [node], from so many first nodes of each set."""
    numbers = np.repeat([number for number, _, _ in parts], [count for _, _, count in parts])
    items = np.concatenate([places.items[:count] for _, places, count in parts])
    positions = np.concatenate([places.positions[:count] for _, places, count in parts])
    return torch.from_numpy(numbers), torch.from_numpy(items), torch.from_numpy(positions)


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
    for site in sorted(selection.sites):
        values = source(*site)
        changes.append(Change(*site, selection.mask(site, values, columns(*site)), values[None]))
    return Rows(selection.number, tuple(changes))


def _mark(mask: Tensor, site: Site, nodes: tuple[Tensor, Tensor, Tensor]) -> None:
    """Mark nodes, by set, item or column, and position, in a mask [set, pos, column]."""
    numbers, items, positions = nodes
    n_positions, everywhere = mask.shape[1], positions == ALL
    mask[numbers[everywhere], :, items[everywhere]] = True
    numbers, items, positions = (each[~everywhere] for each in nodes)
    wrong = positions[(positions < -n_positions) | (positions >= 0)]
    if len(wrong):
        raise UserError(
            f"Nothing can be changed at position {int(wrong[0])} of {site[1]} in layer {site[0]}: positions count from "
            f"the prompt's end (-1), and before {-n_positions} the two prompts are the same."
        )
    mask[numbers, n_positions + positions, items] = True
