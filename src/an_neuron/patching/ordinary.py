"""Exact patching the slow, obvious way: whole prompts through the model as transformers runs it, with a hook.

No keys and values are shared or cached, attention is the architecture's own, and every patch is a row of an ordinary
forward. It measures what the fast way is held against (spot checks), and takes its place where an architecture has no
fast way.
"""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from copy import copy
from functools import partial
from typing import Self

import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.model.hooks import Hook, hooked
from an_neuron.model.plain import tolerance
from an_neuron.patching.interventions import OTHER_RUN, OtherRun
from an_neuron.patching.metric import Inside, Metric
from an_neuron.patching.ordinary_model import OrdinaryModel
from an_neuron.patching.patches import Patches
from an_neuron.patching.rows import Rows
from an_neuron.prompts.pairs import first_difference

BATCH_BYTES = 400 << 20


class OrdinaryPass:
    """One prompt pair on the ordinary model: the base run that is patched, and the source of the patches.

    Parameters
    ----------
    model
        The model.
    base, source
        Token ids of equal length.
    metric
        What is measured at the end.
    put, put_sites
        What patches put in, and the sites at which they do; elsewhere they put in the source's activation.

    Attributes
    ----------
    base_value, source_value
        The metric without a patch, numbers.
    """

    def __init__(
        self,
        model: OrdinaryModel,
        base: Sequence[int],
        source: Sequence[int],
        metric: Metric,
        put: OtherRun = OTHER_RUN,
        put_sites: Collection[tuple[int, str]] = (),
    ) -> None:
        self.model, self.ids, self.source_ids, self.metric = model, base, source, metric
        self.put, self.put_sites = put, {*put_sites} if put.everywhere else set()
        self.start = 0 if put.everywhere else first_difference(base, source)
        self.suffix = len(base) - self.start
        self.device = model.device
        self.base_value, self.source_value = model.run_each([base, source], metric)
        self._seen: dict[tuple[int, str, bool], Tensor] = {}
        self._streams_checked: set[int] = set()

    def allowance(self, *values: Tensor | float) -> float:
        """Return how far a value may be off by rounding, by the size of both prompts' values and of some others."""
        floor = 0.0 if isinstance(self.metric, Inside) else 1.0  # logits are of that size, activations of any
        size = max(floor, *(abs(float(value)) for value in (self.base_value, self.source_value, *values)))
        return tolerance(self.model.dtype) * size

    @property
    def tokens_per_wave(self) -> int:
        """How many token positions may run at once: their logits and a block's activations are held."""
        config = self.model.model.config
        return max(1, BATCH_BYTES // (4 * (2 * self.model.d_vocab + 30 * config.hidden_size)))

    @property
    def tokens_per_row(self) -> int:
        """How many token positions a patch runs: the whole prompt."""
        return len(self.ids)

    def sweep(self, patches: Sequence[Patches]) -> list[Tensor]:
        """Return the metric with each patch, [row] for each of `patches`; each patch is a row of one batch."""
        apart = [each for each in patches if each.site == "resid_mid"]
        together = [each for each in patches if each.site != "resid_mid"]
        values = {id(each): self._sweep_resid_mid(each) for each in apart}
        values |= zip(map(id, together), self._sweep_together(together), strict=True)
        return [values[id(each)] for each in patches]

    def changing(self, patches: Patches) -> Tensor:
        """Return which patches must be run, [row]: all of them."""
        return torch.ones(len(patches), dtype=torch.bool, device=self.device)

    def runs_block(self, _layer: int, _site: str) -> bool:
        """Return whether a site's rows run through their block: all do, in the ordinary way."""
        return False

    def _sweep_together(self, patches: Sequence[Patches]) -> Sequence[Tensor]:
        """Run one batch, in which each patch has a row."""
        number, first = sum(map(len, patches)), 0
        if not number:
            return [self.base_value.new_empty(0) for _ in patches]
        puts = [self._put_at(each.layer, each.site) for each in patches]  # may run a prompt
        with ExitStack() as stack:
            for each, put in zip(patches, puts, strict=True):
                change = partial(self._patched, each, first, put)
                stack.enter_context(self.model.at(each.layer, each.site, change, number))
                first += len(each)
            return self.model.run(self.ids, self.metric, number).split([len(each) for each in patches])

    def _patched(self, patches: Patches, first: int, source: Tensor, activation: Tensor) -> Tensor:
        """Return an activation with one patch in each row from the first of theirs on."""
        activation = activation.clone()
        place = None if patches.site == "resid_pre" else self.model.place(patches.layer, patches.site)
        for number, item in enumerate(patches.items.tolist()):
            row = first + number
            if patches.site == "post":
                where = slice(self.start, None) if patches.pos is None else self.start + int(patches.pos[number])
                activation[row, where, item] = source[where, item]
            elif patches.site == "pattern":
                activation[row, item] = source[item]
            elif place is not None and place.columns is not None:
                for column in place.columns[item].tolist():
                    activation[row, :, column] = source[:, column]
            else:
                activation[row, self.start + item] = source[self.start + item]
        return activation

    def _sweep_resid_mid(self, patches: Patches) -> Tensor:
        """Patch the stream behind attention, which decides all that follows: patched everywhere, it is the source run.

        Raises
        ------
        UserError
            If it does not: the block's sums are of another kind.
        """
        layer = patches.layer
        if layer not in self._streams_checked:
            everywhere = [[*range(self.suffix)]]
            source = self._seen_at(layer, "resid_mid", source=True)
            found = float(self._with_resid_mid(layer, everywhere, source)[0])
            if not abs(found - float(self.source_value)) <= self.allowance():
                raise UserError(
                    f"Layer {layer} of this model ({type(self.model.model).__name__}) has no resid_mid that can be "
                    "patched: the stream there does not decide alone what follows."
                )
            self._streams_checked.add(layer)
        put = self._put_at(layer, "resid_mid")
        return self._with_resid_mid(layer, [[item] for item in patches.items.tolist()], put)

    def _with_resid_mid(self, layer: int, positions: Sequence[Sequence[int]], put: Tensor) -> Tensor:
        """Return the metric with resid_mid patched at some positions of each row.

        It is what enters the MLP's norm, and what leaves the block beside the MLP.
        """
        difference = put - self._seen_at(layer, "resid_mid", source=False)

        def add(rows: Tensor) -> Tensor:
            rows = rows.clone()
            for row, items in enumerate(positions):
                for item in items:
                    rows[row, self.start + item] += difference[self.start + item]
            return rows

        out: Hook = (self.model.blocks[layer], "out", add)
        with self.model.at(layer, "resid_mid", add, len(positions)), hooked([out]):
            return self.model.run(self.ids, self.metric, len(positions))

    def turned(self) -> Self:
        """Return the same prompt pair the other way round; only what another prompt puts in can be turned."""
        other = copy(self)
        other.ids, other.source_ids = self.source_ids, self.ids
        other.base_value, other.source_value = self.source_value, self.base_value
        other._seen = {(layer, site, not source): seen for (layer, site, source), seen in self._seen.items()}
        other._streams_checked = set()
        return other

    def note(self, sites: Collection[tuple[int, str]], own: bool = False) -> None:
        """Run a prompt once for the activations of some sites: for what is put in there, or for its own."""
        keys = {(*site, not own and site not in self.put_sites) for site in sites if site[1] != "resid_mid"}
        self._note(keys - self._seen.keys())

    @torch.inference_mode()
    def run(
        self, rows: Rows, look_at: Collection[tuple[int, str]] = ()
    ) -> tuple[Tensor, dict[tuple[int, str], Tensor]]:
        """Run rows in each of which any places are changed, as `Pass.run` does."""
        seen: dict[tuple[int, str], Tensor] = {}
        with ExitStack() as stack:
            for change in rows.changes:
                putting = partial(change.put, start=self.start)
                stack.enter_context(self.model.at(change.layer, change.site, putting, len(rows)))
            for site in look_at:
                stack.enter_context(self.model.at(*site, partial(self._look, seen, site), len(rows)))
            return self.model.run(self.ids, self.metric, len(rows)), seen

    def _look(self, seen: dict[tuple[int, str], Tensor], site: tuple[int, str], activation: Tensor) -> None:
        seen[site] = activation[:, self.start :].clone()

    def put_at(self, layer: int, site: str) -> Tensor:
        """Return what is put in at a site from p0 on, [pos, column]."""
        return self._put_at(layer, site)[self.start :]

    def own(self, layer: int, site: str) -> Tensor:
        """Return the base run's activation of a site from p0 on, [pos, column]."""
        return self._seen_at(layer, site, source=False)[self.start :]

    def _put_at(self, layer: int, site: str) -> Tensor:
        """Return what is put in at a site, [pos, column], or [head, pos, key]."""
        if (layer, site) not in self.put_sites:
            return self._seen_at(layer, site, source=True)
        own = self._seen_at(layer, site, source=False)
        return self.put((layer, site), own, own)

    def _seen_at(self, layer: int, site: str, source: bool) -> Tensor:
        """Return a site's activation in the source or base run, [pos, ...] or [head, pos, key]."""
        key = layer, site, source
        if key not in self._seen:
            self._note({key})
        return self._seen[key]

    def _note(self, keys: Collection[tuple[int, str, bool]]) -> None:
        """Run one of the prompts with a look at some sites, which are all of it."""
        for source in {source for _, _, source in keys}:
            sites = [key[:2] for key in keys if key[2] == source]
            seen = self.model.activations(self.source_ids if source else self.ids, sites)
            self._seen |= {(*site, source): activation for site, activation in seen.items()}
