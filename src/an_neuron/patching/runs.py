"""What the base run and the source run of a prompt pair leave behind: recorded once, read by every wave."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from transformers import DynamicCache

from an_neuron.errors import UserError
from an_neuron.model.hooks import Call, Hook, hand_on_more, hooked, noting_calls, rows_apart
from an_neuron.patching.attention import SharedPrefix
from an_neuron.patching.metric import Inside, Metric
from an_neuron.patching.wave_model import WaveModel

Site = tuple[int, str]
"""A layer and a site of it."""


@dataclass
class Run:
    """What one prompt's pass through the model leaves: activations of the positions from p0 on.

    Attributes
    ----------
    sites
        Activations by layer and site, [pos, column], or [head, pos, key] for patterns.
    resid_post
        What leaves each block, [pos, d_model].
    calls
        The arguments of each block besides its input.
    value
        The metric, a number.
    """

    sites: dict[Site, Tensor] = field(default_factory=dict)
    resid_post: list[Tensor] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    value: Tensor = field(default_factory=lambda: torch.tensor(torch.nan))


class Recorder:
    """Fills a run with what a sweep needs while the model runs in the ordinary way.

    Parameters
    ----------
    model
        The model.
    keep
        Sites whose activations are needed; resid_pre is kept of every layer.
    """

    def __init__(self, model: WaveModel, keep: set[Site]) -> None:
        self.model, self.keep, self.run, self.attended = model, keep, Run(), set[int]()

    def hooks(self) -> list[Hook]:
        """Return the hooks that record what goes in and out of blocks and of their modules."""
        hooks: list[Hook] = []
        for layer, block in enumerate(self.model.blocks):
            hooks.append((block, "in", partial(self._record, (layer, "resid_pre"))))
            hooks.append((block, "out", self._record_resid_post))
        return hooks + [hook for site in self.keep for hook in self._site_hooks(site)]

    def see(self, layer: int, pattern: Tensor) -> Tensor:
        """Record the pattern, [1, head, pos, key], from inside the attention function."""
        self.attended.add(layer)
        if (layer, "pattern") in self.keep:
            self._record((layer, "pattern"), pattern)
        return pattern

    def _site_hooks(self, site: Site) -> list[Hook]:
        layer, name = site
        if name in ("resid_pre", "pattern"):
            return []
        place, module = self.model.place(layer, name), self.model.module(layer, name)
        hooks: list[Hook] = [(module, place.end, rows_apart(partial(self._record, site), 1))]
        if name == "post":
            hooks.append((module, "out", rows_apart(partial(self._record, (layer, "w_out")), 1)))
        return hooks

    def _record(self, site: Site, activation: Tensor) -> None:
        self.run.sites[site] = activation[0].clone()  # a block may go on to change it in place

    def _record_resid_post(self, activation: Tensor) -> None:
        self.run.resid_post.append(activation[0].clone())


@torch.inference_mode()
def record(model: WaveModel, ids: Sequence[int], cache: DynamicCache, metric: Metric, keep: set[Site]) -> Run:
    """Run the positions from p0 on once, behind a cache of those before, and keep what the sweeps need.

    Raises
    ------
    UserError
        If a block's attention does not go through transformers' interface, where rows can share their prefix, or blocks
        share anything else than the residual stream (keys and values of other layers: Gemma 4).
    """
    recorder = Recorder(model, keep)
    run, seeing = recorder.run, SharedPrefix(change=recorder.see)
    hooks = [*recorder.hooks(), no_logits(model)]
    with model.attention.under(seeing), hooked(hooks), noting_calls(model.blocks, run.calls):
        model.model(model.batch(ids), past_key_values=cache, use_cache=True)
    if hand_on_more(run.calls):
        raise UserError("its blocks hand on more than the residual stream")
    if len(recorder.attended) < model.n_layers:
        raise UserError("not every one of its blocks attends through transformers' attention interface")
    run.value = _measured(model, run, metric)
    return run


def no_logits(model: WaveModel) -> Hook:
    """Return the hook by which a forward unembeds no position: what is recorded, and the metric, needs no logits."""
    return model.unembed, "in", lambda residual: residual[:, :0]


def _measured(model: WaveModel, run: Run, metric: Metric) -> Tensor:
    """Return the metric of a recorded run, a number."""
    if isinstance(metric, Inside):
        return model.measure_inside(metric, run.sites[metric.layer, metric.site][None])[0]
    return model.measure(metric, run.resid_post[-1][-1:])[0]


class Prefixes:
    """The last few prefixes that were recorded in one call, which prompt pairs of the same first tokens share."""

    KEPT = 2048
    """Tokens of all prompts that are kept, of the last one whatever its length."""

    def __init__(self) -> None:
        self._recorded: dict[tuple[int, ...], tuple[DynamicCache, SharedPrefix]] = {}

    def of(self, model: WaveModel, ids: Sequence[int], length: int) -> tuple[DynamicCache, SharedPrefix]:
        """Return what `record_prefix` does, from an earlier prompt of as many tokens that began alike."""
        key = len(ids), *ids[:length]
        if key not in self._recorded:
            self._recorded[key] = record_prefix(model, ids, length)
            while len(self._recorded) > 1 and sum(length for length, *_ in self._recorded) > self.KEPT:
                del self._recorded[next(iter(self._recorded))]
        return self._recorded[key]


@torch.inference_mode()
def record_prefix(model: WaveModel, ids: Sequence[int], length: int) -> tuple[DynamicCache, SharedPrefix]:
    """Run a prompt; return keys and values of its first positions as a cache, and as what all rows share.

    The whole prompt runs, since rotary embeddings may depend on its length.
    """
    cache = DynamicCache()
    keys, values = dict[int, Tensor](), dict[int, Tensor]()

    def see(layer: int, key: Tensor, value: Tensor) -> None:
        keys[layer], values[layer] = key[0, :, :length], value[0, :, :length]

    if length:
        with model.attention.under(SharedPrefix(see=see)), hooked([no_logits(model)]):
            model.model(model.batch(ids), past_key_values=cache, use_cache=True)
        cache.crop(length - len(ids))  # a negative number: so many fewer
    return cache, SharedPrefix(keys, values)


def record_both(
    model: WaveModel,
    base: Sequence[int],
    source: Sequence[int],
    start: int,
    metric: Metric,
    keep: set[Site],
    prefixes: Prefixes,
) -> tuple[Run, Run, SharedPrefix]:
    """Return the runs of base and source from their first different position on, and what they share before it."""
    if isinstance(metric, Inside):
        keep = keep | {(metric.layer, metric.site)}
    cache, prefix = prefixes.of(model, base, start)
    base_run, source_run = (record(model, ids[start:], deepcopy(cache), metric, keep) for ids in (base, source))
    return base_run, source_run, prefix
