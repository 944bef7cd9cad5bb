"""Exact patching in one pass: the wavefront.

A patch at layer L of a prompt leaves layers below L as they were, and positions before the first one at which clean and
corrupted prompt differ (p0) leave every key and value as it was. So one sweep over the layers carries a batch that
grows: the rows whose patch lives in a layer are built from activations that were recorded once, and join there.

              block 0          block 1          block 2       final norm, metric
             +-------+        +-------+        +-------+
    in 0 --->|#######|------->|#######|------->|######x|---> x ---> value
             +-------+        |       |        |       |
    out 0 ------------------->|#######|------->|######x|---> x ---> value
                              |       |        |       |
    in 1 -------------------->|#######|------->|######x|---> x ---> value
                              +-------+        |       |
    out 1 ------------------------------------>|######x|---> x ---> value
                                               |       |
    in 2 ------------------------------------->|######x|---> x ---> value
                                               +-------+
    out 2 -------------------------------------------------> x ---> value

    in L    rows of resid_pre, resid_mid, attn_out, and the heads: they run through block L
    out L   rows of mlp_out and of neurons (post): they only change what leaves block L
    ######x the positions from p0 on; all rows share the keys and values of those before.
            The last block computes what its last position x needs, where no patch lives inside it.

The result equals one forward pass per patch; only shared work is skipped.
"""

from collections.abc import Collection, Sequence

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from an_neuron.errors import UserError
from an_neuron.model.hooks import Hook, first, hooked, rows_apart
from an_neuron.patching.attention import SharedPrefix
from an_neuron.patching.interventions import OTHER_RUN, OtherRun
from an_neuron.patching.metric import Inside, Metric
from an_neuron.patching.patches import LEAVING, Live, Patches, live
from an_neuron.patching.putting import put
from an_neuron.patching.rows import Rows
from an_neuron.patching.runs import Site, record_both
from an_neuron.patching.wave_model import WaveModel
from an_neuron.prompts.pairs import first_difference


class Pass:
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
    ) -> None:
        self.model, self.metric, self.device = model, metric, model.device
        self.stop = metric.layer if isinstance(metric, Inside) else model.n_layers
        self.start = 0 if put.everywhere else first_difference(base, source)
        self.suffix = len(base) - self.start
        behind = {(layer, "mlp_out") for layer, site in keep if site == "post"}  # there may be a norm between
        runs = record_both(model, base, source, self.start, metric, keep | behind)
        self.base, self.source, self.prefix = runs
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

    @torch.inference_mode()
    def sweep(self, patches: Sequence[Patches]) -> list[Tensor]:
        """Run one wave: the metric with each patch, [row] for each of `patches`.

        `patches` are in order of their layers, those that enter a layer before those that leave it.
        """
        wave = list(live(patches))
        d_model = self.base.resid_post[0].shape[-1]
        rows = torch.empty(0, self.suffix, d_model, device=self.device, dtype=self.model.dtype)
        for layer in range(patches[0].layer, self.stop):
            joining = [each for each in wave if each.patches.layer == layer]
            entering = [each for each in joining if each.patches.enters]
            rows = _joined(rows, [self._enter(each.patches) for each in entering])
            if len(rows):
                rows = self._block(layer, rows, *self._inside(entering, len(rows)))
            leaving = [self._leave(each.patches) for each in joining if not each.patches.enters]
            rows = _joined(rows, [left[:, -rows.shape[1] :] for left in leaving])
        entering = [each for each in wave if each.patches.layer == self.stop]
        rows = _joined(rows, [self._enter(each.patches) for each in entering])
        values = self._measured(rows, *self._inside(entering, len(rows)))
        return [values[each.rows] for each in wave]

    @torch.inference_mode()
    def run(self, rows: Rows, look_at: Collection[Site] = ()) -> tuple[Tensor, dict[Site, Tensor]]:
        """Run rows in each of which any places are changed.

        Parameters
        ----------
        rows
            What is changed in each.
        look_at
            Sites whose activations are wanted.

        Returns
        -------
        tuple
            The metric of each row, [row], and of each site that was looked at [row, pos, column], pos from p0 on.
        """
        seen: dict[Site, Tensor] = {}
        first_layer = min([self.stop, *(layer for layer, _ in look_at), *(each.layer for each in rows.changes)])
        stream = _copies(self.base.sites[first_layer, "resid_pre"], len(rows))
        for layer in range(first_layer, self.stop):
            stream = rows.entering(layer, stream)
            hooks = [*rows.hooks(layer, self.model), *self._looks(layer, look_at, seen, stream)]
            stream = self._block(layer, stream, hooks)
        if self.stop == self.model.n_layers:
            return self._measured(stream, []), seen
        return self._measured(rows.entering(self.stop, stream), rows.hooks(self.stop, self.model)), seen

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

    def changing(self, patches: Patches) -> Tensor:
        """Return which patches change anything at all, [row]: a neuron that is silent in both runs does not."""
        if patches.site != "post":
            return torch.ones(len(patches), dtype=torch.bool, device=self.device)
        site = patches.layer, "post"
        change = self.source.sites[site] != self.base.sites[site]  # [pos, d_mlp]
        return change.any(0)[patches.items] if patches.pos is None else change[patches.pos, patches.items]

    def runs_block(self, layer: int, site: str) -> bool:
        """Return whether rows of a site that leaves the block must run through it: what shows is no multiple."""
        return site in LEAVING and self.model.factor(layer, site) is None

    def _enter(self, patches: Patches) -> Tensor:
        """Return what enters the layer's block for each patch, [row, pos, d_model]."""
        site = patches.layer, "resid_pre"
        rows = _copies(self.base.sites[site], len(patches))
        if patches.site == "resid_pre":
            each = torch.arange(len(patches), device=rows.device)
            rows[each, patches.items] = self.source.sites[site][patches.items]
        return rows

    def _leave(self, patches: Patches) -> Tensor:
        """Return what leaves the layer's block for each patch, [row, pos, d_model]."""
        change = self._change_of_mlp_out(patches) if patches.site == "mlp_out" else self._change_by_neurons(patches)
        factor = self.model.factor(patches.layer, patches.site)
        if factor is None:
            raise ValueError(f"{patches.site} of layer {patches.layer} must run through its block")
        return self.base.resid_post[patches.layer] + (change if factor == 1 else factor * change)

    def _change_of_mlp_out(self, patches: Patches) -> Tensor:
        """Return the change of the MLP's output at one position per row, [row, pos, d_model]."""
        difference = self._difference(patches.layer, "mlp_out")
        return nn.functional.one_hot(patches.items, self.suffix)[..., None] * difference

    def _change_by_neurons(self, patches: Patches) -> Tensor:
        """Return by how much each neuron's patch changes what the MLP adds to the residual stream."""
        layer = patches.layer
        change = rearrange(self._difference(layer, "post")[:, patches.items], "pos row -> row pos")
        if patches.pos is not None:
            change = change * nn.functional.one_hot(patches.pos, self.suffix)
        before, behind = self.base.sites[layer, "w_out"], self.base.sites[layer, "mlp_out"]
        return self.model.written(layer, change, self.model.w_out(layer)[patches.items], before, behind)

    def _block(self, layer: int, rows: Tensor, hooks: Sequence[Hook], prefix: SharedPrefix | None = None) -> Tensor:
        """Run a layer's block on all rows, with hooks inside it."""
        last = layer == self.model.n_layers - 1
        if last and not hooks and prefix is None:
            hooks = self.model.last_position_hooks()
        positional, named = self.base.calls[layer]
        with self.model.attention.under(prefix or self.prefix), hooked(hooks):
            rows = first(self.model.blocks[layer](rows, *positional, **named))
        return rows[:, -1:] if last else rows

    def _inside(self, entering: Sequence[Live], rows: int) -> tuple[list[Hook], SharedPrefix | None]:
        """Return the hooks, and the prefix, that patch what lives inside a block."""
        inside = [each for each in entering if each.patches.inside]
        patterns = [each for each in inside if each.patches.site == "pattern"]
        hooks = [self._hook(each, rows) for each in inside if each.patches.site != "pattern"]
        return hooks, self._prefix(patterns) if patterns else None

    def _prefix(self, patterns: Sequence[Live]) -> SharedPrefix:
        """Return the shared prefix with the patches of a layer's patterns."""

        def change(layer: int, pattern: Tensor) -> Tensor:
            for each in patterns:
                source = self.source.sites[layer, "pattern"]
                pattern = put(pattern, each.index(pattern), each.patches, source, None)
            return pattern

        return SharedPrefix(self.prefix.keys, self.prefix.values, change)

    def _hook(self, live: Live, rows: int) -> Hook:
        """Return the hook that patches a site inside a block; resid_mid is patched at what attention adds to it."""
        layer, site = live.patches.layer, live.patches.site
        if site == "resid_mid":
            return self._resid_mid_hook(live, rows)
        place = self.model.place(layer, site)

        def change(activation: Tensor) -> Tensor:
            source = self.source.sites[layer, site]
            return put(activation, live.index(activation), live.patches, source, place)

        return self.model.module(layer, site), place.end, rows_apart(change, rows)

    def _resid_mid_hook(self, live: Live, rows: int) -> Hook:
        layer, positions = live.patches.layer, live.patches.items
        factor = self.model.factor(layer, "attn_out")
        if factor is None:
            raise UserError("what attention adds to the residual stream does not enter it as a multiple")

        def change(activation: Tensor) -> Tensor:
            activation = activation.clone()
            difference = self._difference(layer, "resid_mid") / factor
            activation[live.index(activation), positions] += difference[positions]
            return activation

        return self.model.module(layer, "attn_out"), self.model.place(layer, "attn_out").end, rows_apart(change, rows)

    def _difference(self, layer: int, site: str) -> Tensor:
        """Return source minus base at a site, [pos, ...]."""
        return self.source.sites[layer, site] - self.base.sites[layer, site]


def _copies(activation: Tensor, number: int) -> Tensor:
    """Return an activation once per row, each row in memory of its own, [row, pos, d_model]."""
    rows = repeat(activation, "pos d_model -> row pos d_model", row=number)  # a view
    return rows.clone(memory_format=torch.contiguous_format)


def _joined(rows: Tensor, more: Sequence[Tensor]) -> Tensor:
    return torch.cat([rows, *more]) if more else rows
