"""What the base run and the source run of a prompt pair leave behind: recorded once, read by every wave."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from transformers import DynamicCache

from an_neuron.model.hooks import Call, Hook, hooked, noting_calls
from an_neuron.patching.attention import SharedPrefix
from an_neuron.patching.engine import Engine, Metric

Place = tuple[int, str]
"""A layer and a site."""


@dataclass
class Run:
    """What one prompt's pass through the model leaves: activations of the positions from p0 on.

    Attributes
    ----------
    sites
        Activations by layer and site, [pos, ...] or [head, pos, ...].
    resid_post
        What leaves each block, [pos, d_model].
    calls
        The arguments of each block besides its input.
    value
        The metric, a number.
    """

    sites: dict[Place, Tensor] = field(default_factory=dict)
    resid_post: list[Tensor] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    value: Tensor = field(default_factory=lambda: torch.tensor(torch.nan))


class Recorder:
    """Fills a run with what a sweep needs while the model runs in the ordinary way.

    Parameters
    ----------
    engine
        The model.
    keep
        Sites whose activations are needed; resid_pre is kept of every layer.
    """

    def __init__(self, engine: Engine, keep: set[Place]) -> None:
        self.engine, self.keep, self.run = engine, keep, Run()

    def hooks(self) -> list[Hook]:
        """Return the hooks that record what goes in and out of blocks and of their modules."""
        hooks: list[Hook] = []
        for layer, block in enumerate(self.engine.blocks):
            hooks.append((block, "in", partial(self._record, (layer, "resid_pre"))))
            hooks.append((block, "out", self._record_resid_post))
        return hooks + [hook for place in self.keep for hook in self._site_hooks(place)]

    def see(self, layer: int, site: str, activation: Tensor) -> Tensor:
        """Record a head site, [1, head, pos, ...], from inside the attention function."""
        if (layer, site) in self.keep:
            self._record((layer, site), activation)
        return activation

    def _site_hooks(self, place: Place) -> list[Hook]:
        layer, site = place
        if site not in self.engine.where or site == "z":  # z is seen inside the attention function, by head
            return []
        path, end = self.engine.where[site]
        module = self.engine.blocks[layer].get_submodule(path)
        hooks: list[Hook] = [(module, end, partial(self._record, place))]
        if site == "post":
            hooks.append((module, "out", partial(self._record, (layer, "w_out"))))
        return hooks

    def _record(self, place: Place, activation: Tensor) -> None:
        self.run.sites[place] = activation[0]

    def _record_resid_post(self, activation: Tensor) -> None:
        self.run.resid_post.append(activation[0])


@torch.inference_mode()
def record(engine: Engine, ids: Sequence[int], cache: DynamicCache, metric: Metric, keep: set[Place]) -> Run:
    """Run the positions from p0 on once, behind a cache of those before, and keep what the sweeps need."""
    recorder = Recorder(engine, keep)
    run, seeing = recorder.run, SharedPrefix(change=recorder.see)
    with engine.attention.under(seeing), hooked(recorder.hooks()), noting_calls(engine.blocks, run.calls):
        engine.model(engine.batch(ids), past_key_values=cache, use_cache=True)
    for (layer, site), activation in run.sites.items():
        if site in ("k", "v"):  # behind those of the cache
            run.sites[layer, site] = activation[:, -len(ids) :]
    run.value = engine.measure(metric, run.resid_post[-1][-1:])[0]
    return run


def record_prefix(engine: Engine, ids: Sequence[int]) -> tuple[DynamicCache, SharedPrefix]:
    """Run the positions before p0; return their keys and values as a cache, and as what all rows share."""
    cache = DynamicCache()
    if ids:
        engine.model(engine.batch(ids), past_key_values=cache, use_cache=True)
    keys = {layer: kept.keys[0] for layer, kept in enumerate(cache.layers)}
    values = {layer: kept.values[0] for layer, kept in enumerate(cache.layers)}
    return cache, SharedPrefix(keys, values)
