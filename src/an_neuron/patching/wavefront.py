"""Exact patching in one pass: the wavefront.

A patch at layer L of a prompt leaves layers below L as they were, and positions before the first one at which clean and
corrupted prompt differ (p0) leave every key and value as it was. So one sweep over the layers carries a batch that
grows: at each layer the rows whose patch lives there are added, built from activations recorded once, and the layer's
block runs on all rows, over the positions from p0 on only. At the end stand the final norm and the logits that the
metric asks for, at the last position. It is the arithmetic of one forward pass for each patch, less what is the same in
all of them.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import accumulate

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from an_neuron.model.hooks import Call, Hook, first, hooked, noting_calls
from an_neuron.patching import attention
from an_neuron.patching.engine import Engine, Metric
from an_neuron.prompts.pairs import first_difference

CONTROLS = ("nothing", "everything")
"""A row like the base run, and one whose whole residual stream is the source run's: both must end where those do."""
INSIDE = ("resid_mid", "attn_out", *attention.HEAD_SITES)
"""Sites inside a block, that are patched while it runs."""
ENTERING = (*CONTROLS, "resid_pre", *INSIDE)
"""Sites whose rows run through the layer's own block; mlp_out and post (neurons) only change what leaves it."""


@dataclass(frozen=True)
class Patches:
    """Patches of one site of one layer, a row each.

    Attributes
    ----------
    items
        Positions (counted from p0), heads, or neurons, [row].
    pos
        For neurons: the one position (counted from p0) that is patched, [row]; all positions if None.
    """

    layer: int
    site: str
    items: Tensor
    pos: Tensor | None = None

    def __len__(self) -> int:
        return len(self.items)

    @property
    def rank(self) -> tuple[int, bool]:
        """Place in a wave: by layer, and what enters a layer before what leaves it."""
        return self.layer, self.site not in ENTERING

    def of(self, which: Tensor | slice) -> "Patches":
        """Return some of the patches."""
        return Patches(self.layer, self.site, self.items[which], None if self.pos is None else self.pos[which])

    def split(self, at: int) -> tuple["Patches", "Patches"]:
        """Return the first `at` patches, and the others."""
        return self.of(slice(at)), self.of(slice(at, None))


@dataclass
class Run:
    """What a prompt's pass through the model leaves: activations of the positions from p0 on, by layer.

    `at` holds the sites' activations, [pos, …] or [head, pos, …]; `out` what leaves each block, [pos, d_model]; `calls`
    the other arguments of each block; `value` the metric.
    """

    at: dict[tuple[int, str], Tensor] = field(default_factory=dict)
    out: list[Tensor] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    value: Tensor = field(default_factory=lambda: torch.tensor(torch.nan))


class Pass:
    """One prompt pair on an engine: the base run that is patched, and the source run that the patches come from.

    Parameters
    ----------
    engine
        The model.
    base, source
        Token ids of equal length; corrupted and clean for denoising, clean and corrupted for noising.
    metric
        What is measured at the end.
    keep
        Sites whose activations are needed, as (layer, site).
    """

    def __init__(
        self, engine: Engine, base: Sequence[int], source: Sequence[int], metric: Metric, keep: set[tuple[int, str]]
    ) -> None:
        self.engine, self.metric = engine, metric
        self.start = first_difference(base, source)
        self.prefix = attention.SharedPrefix()
        cache = DynamicCache()
        if self.start:
            engine.model(_ids(engine, base[: self.start]), past_key_values=cache, use_cache=True)
            for layer, kept in enumerate(cache.layers):
                self.prefix.keys[layer], self.prefix.values[layer] = kept.keys[0], kept.values[0]
        self.base, self.source = (
            _record(engine, ids[self.start :], deepcopy(cache), metric, keep) for ids in (base, source)
        )
        self.suffix = len(base) - self.start

    @torch.inference_mode()
    def sweep(self, patches: Sequence[Patches]) -> list[Tensor]:
        """Run one wave: the metric with each patch, [row] for each of `patches`.

        `patches` are in order of their layers, those that enter a layer before those that leave it.
        """
        rows = torch.empty(0, self.suffix, self.base.out[0].shape[-1], device=self.engine.device)
        first = patches[0].layer
        for layer in range(first, self.engine.n_layers):
            here = [some for some in patches if some.layer == layer]
            entering = [some for some in here if some.site in ENTERING]
            rows = _joined(rows, *(self._enter(some) for some in entering))
            if len(rows):
                rows = self._block(layer, rows, entering)
            leaving = [self._leave(some)[:, -rows.shape[1] :] for some in here if some.site not in ENTERING]
            rows = _joined(rows, *leaving)
        values = self.engine.measure(self.metric, rows[:, -1])
        return list(values.split([len(some) for some in patches]))

    def changing(self, patches: Patches) -> Tensor:
        """Return which patches change anything at all, [row]: a neuron that is silent in both runs does not."""
        if patches.site != "post":
            return torch.ones(len(patches), dtype=torch.bool, device=self.engine.device)
        change = self.source.at[patches.layer, "post"] != self.base.at[patches.layer, "post"]  # [pos, d_mlp]
        return change.any(0)[patches.items] if patches.pos is None else change[patches.pos, patches.items]

    def _enter(self, patches: Patches) -> Tensor:
        """Return what enters the layer's block for each patch, [row, pos, d_model]."""
        rows = self.base.at[patches.layer, "resid_pre"].repeat(len(patches), 1, 1)
        if patches.site == "everything":
            rows[:] = self.source.at[patches.layer, "resid_pre"]
        if patches.site == "resid_pre":
            own = torch.arange(len(patches), device=rows.device)
            rows[own, patches.items] = self.source.at[patches.layer, "resid_pre"][patches.items]
        return rows

    def _leave(self, patches: Patches) -> Tensor:
        """Return what leaves the layer's block for each patch, [row, pos, d_model]."""
        layer, own = patches.layer, torch.arange(len(patches), device=self.engine.device)
        if patches.site == "mlp_out":
            change = self.source.at[layer, "mlp_out"] - self.base.at[layer, "mlp_out"]
            rows = self.base.out[layer].repeat(len(patches), 1, 1)
            rows[own, patches.items] += change[patches.items]
            return rows
        change = (self.source.at[layer, "post"] - self.base.at[layer, "post"])[:, patches.items].T  # [row, pos]
        if patches.pos is not None:
            change = change * nn.functional.one_hot(patches.pos, self.suffix)
        written = change[:, :, None] * self.engine.w_out(layer)[patches.items][:, None, :]
        norm = self.engine.mlp_norm(layer)
        if norm is not None:
            written = norm(self.base.at[layer, "w_out"] + written) - self.base.at[layer, "mlp_out"]
        return self.base.out[layer] + written

    def _block(self, layer: int, rows: Tensor, entering: Sequence[Patches]) -> Tensor:
        """Run a layer's block on all rows; the last of them are those that have just entered."""
        starts = accumulate(map(len, entering), initial=len(rows) - sum(map(len, entering)))
        places = [place for place in zip(starts, entering, strict=False) if place[1].site in INSIDE]
        last = layer == self.engine.n_layers - 1
        hooks = self._module_hooks(layer, places)
        if last and not places:
            hooks += self.engine.last_position_hooks(layer)
        positional, named = self.base.calls[layer]
        with attention.sharing(self._attention(layer, places)), hooked(hooks):
            rows = first(self.engine.blocks[layer](rows, *positional, **named))
        return rows[:, -1:] if last else rows

    def _attention(self, layer: int, places: Sequence[tuple[int, Patches]]) -> attention.SharedPrefix:
        """Return the shared prefix, with the patches of this layer's heads."""
        heads = [(start, some) for start, some in places if some.site in attention.HEAD_SITES]

        def change(at: int, site: str, activation: Tensor) -> Tensor:
            for start, some in heads:
                if some.site == site:
                    activation = activation.clone()
                    own = torch.arange(start, start + len(some), device=activation.device)
                    activation[own, some.items] = self.source.at[at, site][some.items]
            return activation

        return attention.SharedPrefix(self.prefix.keys, self.prefix.values, change if heads else None)

    def _module_hooks(self, layer: int, places: Sequence[tuple[int, Patches]]) -> list[Hook]:
        """Return the hooks that patch attn_out and resid_mid, both at what attention adds to the residual stream."""
        own = [(start, some) for start, some in places if some.site in ("attn_out", "resid_mid")]
        if not own:
            return []

        def change(activation: Tensor) -> Tensor:
            activation = activation.clone()
            for start, some in own:
                difference = self.source.at[layer, some.site] - self.base.at[layer, some.site]
                rows = torch.arange(start, start + len(some), device=activation.device)
                activation[rows, some.items] += difference[some.items]
            return activation

        path, end = self.engine.where["attn_out"]
        return [(self.engine.blocks[layer].get_submodule(path), end, change)]


@torch.inference_mode()
def _record(engine: Engine, ids: Sequence[int], cache: DynamicCache, metric: Metric, keep: set[tuple[int, str]]) -> Run:
    """Run the positions from p0 on once, in the ordinary way, and keep what the sweeps need."""
    run = Run()
    hooks: list[Hook] = []

    def keeper(key: tuple[int, str]) -> Callable[[Tensor], None]:
        return lambda activation: run.at.__setitem__(key, activation[0])

    for layer, block in enumerate(engine.blocks):
        hooks.append((block, "in", keeper((layer, "resid_pre"))))
        hooks.append((block, "out", lambda activation: run.out.append(activation[0])))
        for site in (site for at, site in keep if at == layer and site in engine.where and site != "z"):
            path, end = engine.where[site]
            hooks.append((block.get_submodule(path), end, keeper((layer, site))))
            if site == "post":
                hooks.append((block.get_submodule(path), "out", keeper((layer, "w_out"))))

    def see(layer: int, site: str, activation: Tensor) -> Tensor:
        if (layer, site) in keep:
            run.at[layer, site] = activation[0]
        return activation

    with attention.sharing(attention.SharedPrefix(change=see)), hooked(hooks), noting_calls(engine.blocks, run.calls):
        engine.model(_ids(engine, ids), past_key_values=cache, use_cache=True)
    suffix = len(ids)
    for key, activation in run.at.items():
        if key[1] in ("k", "v"):
            run.at[key] = activation[:, -suffix:]
    run.value = engine.measure(metric, run.out[-1][-1:])[0]
    return run


def _joined(rows: Tensor, *more: Tensor) -> Tensor:
    return torch.cat([rows, *more]) if more else rows


def _ids(engine: Engine, ids: Sequence[int]) -> Tensor:
    return torch.tensor([list(ids)], device=engine.device)
