"""A prompt pair's runs on a model whose rows share the keys and values before their first difference."""

from collections.abc import Collection, Sequence
from contextlib import nullcontext
from copy import copy
from typing import Self

import torch
from einops import repeat
from torch import Tensor

from an_neuron.model.hooks import Hook, first, hooked, rows_apart
from an_neuron.patching.attention import SharedPrefix
from an_neuron.patching.changed_products import ChangedProducts
from an_neuron.patching.interventions import OTHER_RUN, OtherRun
from an_neuron.patching.metric import Inside, Metric
from an_neuron.patching.rows import Rows
from an_neuron.patching.runs import Prefixes, Site, record_both
from an_neuron.patching.wave_model import WaveModel
from an_neuron.prompts.pairs import first_difference


class PrefixPass:
    """One prompt pair on a model: the base run that is patched, and the source run that the patches come from.

    Parameters
    ----------
    model
        The model.
    base, source
        Token ids of equal length; corrupted and clean for denoising, clean and corrupted for noising.
    metric
        What is measured at the end.
    keep
        Sites whose activations are needed, as (layer, site).
    put
        What patches put in.
    prefixes
        Of earlier prompt pairs, which may be this one's, too.

    Raises
    ------
    UserError
        If the blocks cannot run behind shared keys and values.
    """

    def __init__(
        self,
        model: WaveModel,
        base: Sequence[int],
        source: Sequence[int],
        metric: Metric,
        keep: set[Site],
        put: OtherRun = OTHER_RUN,
        prefixes: Prefixes | None = None,
    ) -> None:
        self.model, self.metric, self.device = model, metric, model.device
        self.stop = metric.layer if isinstance(metric, Inside) else model.n_layers
        self.start = 0 if put.everywhere else first_difference(base, source)
        self.suffix = len(base) - self.start
        behind = {(layer, "mlp_out") for layer, site in keep if site == "post"}  # there may be a norm between
        runs = record_both(model, base, source, self.start, metric, keep | behind, prefixes or Prefixes())
        self.base, self.source, self.prefix = runs
        self.products: ChangedProducts | None = None
        if put.everywhere:
            own = self.base.sites
            self.source.sites |= {site: put(site, own[site], own[site]) for site in keep}

    @property
    def base_value(self) -> Tensor:
        """The metric of the base run, a number."""
        return self.base.value

    @property
    def source_value(self) -> Tensor:
        """The metric of the source run, a number."""
        return self.source.value

    @property
    def tokens_per_wave(self) -> int:
        """How many token positions may run at once, by the device's memory."""
        return self.model.tokens_per_wave(self.start + self.suffix)

    @property
    def tokens_per_row(self) -> int:
        """How many token positions a patch runs."""
        return self.suffix

    @torch.inference_mode()
    def lower(self, precision: str) -> None:
        """Let waves multiply only what rows change of the base run, in a precision below float32."""
        products = ChangedProducts(precision, self.model.weights[precision])
        for layer, block in enumerate(self.model.blocks[: self.stop + 1]):
            whole: Hook = (block, "in", lambda _: None)  # a block with a hook computes all positions
            with products.recording(block):
                self._block(layer, self.base.sites[layer, "resid_pre"][None], [whole])
        self.products = products

    @torch.inference_mode()
    def run(self, rows: Rows, look_at: Collection[Site] = ()) -> tuple[Tensor, dict[Site, Tensor]]:
        """Run rows in each of which any places are changed.

        Parameters
        ----------
        rows
            What is changed in each. A row joins where it, or one behind it, is first changed: so those of the first
            layers should come first.
        look_at
            Sites whose activations are wanted.

        Returns
        -------
        tuple
            The metric of each row, [row], and of each site that was looked at [row, pos, column], pos from p0 on.
        """
        seen: dict[Site, Tensor] = {}
        latest = min([self.stop, self.model.n_layers - 1, *(layer for layer, _ in look_at)])
        first_layers = [min(latest, layer) for layer in rows.first_layers()]
        stream = self.base.sites[0, "resid_pre"].new_empty(0, *self.base.sites[0, "resid_pre"].shape)
        for layer in range(min(first_layers), self.stop):
            stream = rows.entering(layer, self._with_joining(stream, layer, first_layers))
            hooks = [*rows.hooks(layer, self.model, len(stream)), *self._looks(layer, look_at, seen, stream)]
            stream = self._block(layer, stream, hooks)
        if self.stop == self.model.n_layers:
            return self._measured(stream, []), seen
        stream = rows.entering(self.stop, self._with_joining(stream, self.stop, first_layers))
        return self._measured(stream, rows.hooks(self.stop, self.model, len(stream))), seen

    def _with_joining(self, stream: Tensor, layer: int, first_layers: Sequence[int]) -> Tensor:
        """Return what enters a layer's block, with the rows up to the last one that is changed by now."""
        running = 1 + max(row for row, first in enumerate(first_layers) if first <= layer)
        if running == len(stream):
            return stream
        return torch.cat([stream, copies(self.base.sites[layer, "resid_pre"], running - len(stream))])

    def turned(self) -> Self:
        """Return the same prompt pair the other way round, in float32: the source patched by the base.

        Both runs stay what they are, so that nothing runs. Only what another prompt puts in can be turned.
        """
        other = copy(self)
        other.base, other.source, other.products = self.source, self.base, None
        return other

    def put_at(self, layer: int, site: str) -> Tensor:
        """Return what is put in at a site from p0 on, [pos, column]."""
        return self.source.sites[layer, site]

    def own(self, layer: int, site: str) -> Tensor:
        """Return the base run's activation of a site from p0 on, [pos, column]."""
        return self.base.sites[layer, site]

    def _measured(self, rows: Tensor, hooks: Sequence[Hook], prefix: SharedPrefix | None = None) -> Tensor:
        """Return the metric of what leaves the last block, or of what enters the layer inside which it is."""
        if not isinstance(self.metric, Inside):
            return self.model.measure(self.metric, rows[:, -1])
        if self.metric.site == "resid_pre":
            return self.model.measure_inside(self.metric, rows)
        seen: dict[Site, Tensor] = {}
        site = self.stop, self.metric.site
        self._block(self.stop, rows, [*hooks, self._look(site, seen, len(rows))], prefix)
        return self.model.measure_inside(self.metric, seen[site])

    def _looks(self, layer: int, look_at: Collection[Site], seen: dict[Site, Tensor], stream: Tensor) -> list[Hook]:
        """Return the hooks that look at a layer's sites; what enters it is there already."""
        here = {site for site in look_at if site[0] == layer}
        seen |= {site: stream.clone() for site in here & {(layer, "resid_pre")}}
        return [self._look(site, seen, len(stream)) for site in here - {(layer, "resid_pre")}]

    def _look(self, site: Site, seen: dict[Site, Tensor], rows: int) -> Hook:
        """Return a hook that keeps a site's activation, [row, pos, column], as it is behind other hooks."""
        see = rows_apart(lambda activation: seen.update({site: activation.clone()}), rows)
        return self.model.module(*site), self.model.place(*site).end, see

    def _block(self, layer: int, rows: Tensor, hooks: Sequence[Hook], prefix: SharedPrefix | None = None) -> Tensor:
        """Run a layer's block on all rows, with hooks inside it."""
        last = layer == self.model.n_layers - 1
        if last and not hooks and prefix is None:
            hooks = self.model.last_position_hooks()
        block, (positional, named) = self.model.blocks[layer], self.base.calls[layer]
        multiplying = nullcontext() if self.products is None else self.products.of_changes(block)
        with self.model.attention.under(prefix or self.prefix), hooked(hooks), multiplying:
            rows = first(block(rows, *positional, **named))
        return rows[:, -1:] if last else rows


def copies(activation: Tensor, number: int) -> Tensor:
    """Return an activation once per row, each row in memory of its own, [row, pos, d_model]."""
    rows = repeat(activation, "pos d_model -> row pos d_model", row=number)  # a view
    return rows.clone(memory_format=torch.contiguous_format)
