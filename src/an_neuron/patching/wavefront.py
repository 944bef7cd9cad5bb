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

    in L    rows of resid_pre, resid_mid, attn_out, the heads and the controls: they run through block L
    out L   rows of mlp_out and of neurons (post): they only change what leaves block L
    ######x the positions from p0 on; all rows share the keys and values of those before.
            The last block computes what its last position x needs, where no patch lives inside it.

The result equals one forward pass per patch; only shared work is skipped.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from einops import einsum, rearrange, repeat
from torch import Tensor, nn

from an_neuron.model.decoder import HEAD_SITES
from an_neuron.model.hooks import Hook, first, hooked
from an_neuron.patching.attention import SharedPrefix, unchanged
from an_neuron.patching.engine import Engine, Metric
from an_neuron.patching.patches import INSIDE, Live, Patches, live
from an_neuron.patching.runs import Place, record, record_prefix
from an_neuron.prompts.pairs import first_difference


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
        self, engine: Engine, base: Sequence[int], source: Sequence[int], metric: Metric, keep: set[Place]
    ) -> None:
        self.engine, self.metric = engine, metric
        self.start = first_difference(base, source)
        self.suffix = len(base) - self.start
        cache, self.prefix = record_prefix(engine, base[: self.start])
        self.base, self.source = (
            record(engine, ids[self.start :], deepcopy(cache), metric, keep) for ids in (base, source)
        )

    @torch.inference_mode()
    def sweep(self, patches: Sequence[Patches]) -> list[Tensor]:
        """Run one wave: the metric with each patch, [row] for each of `patches`.

        `patches` are in order of their layers, those that enter a layer before those that leave it.
        """
        wave = list(live(patches))
        rows = torch.empty(0, self.suffix, self.base.resid_post[0].shape[-1], device=self.engine.device)
        for layer in range(patches[0].layer, self.engine.n_layers):
            joining = [each for each in wave if each.patches.layer == layer]
            entering = [each for each in joining if each.patches.enters]
            rows = _joined(rows, [self._enter(each.patches) for each in entering])
            if len(rows):
                rows = self._block(layer, rows, [each for each in entering if each.patches.site in INSIDE])
            leaving = [self._leave(each.patches) for each in joining if not each.patches.enters]
            rows = _joined(rows, [left[:, -rows.shape[1] :] for left in leaving])
        values = self.engine.measure(self.metric, rows[:, -1])
        return [values[each.rows] for each in wave]

    def changing(self, patches: Patches) -> Tensor:
        """Return which patches change anything at all, [row]: a neuron that is silent in both runs does not."""
        if patches.site != "post":
            return torch.ones(len(patches), dtype=torch.bool, device=self.engine.device)
        place = patches.layer, "post"
        change = self.source.sites[place] != self.base.sites[place]  # [pos, d_mlp]
        return change.any(0)[patches.items] if patches.pos is None else change[patches.pos, patches.items]

    def _enter(self, patches: Patches) -> Tensor:
        """Return what enters the layer's block for each patch, [row, pos, d_model]."""
        place = patches.layer, "resid_pre"
        rows = _copies(self.base.sites[place], len(patches))
        if patches.site == "everything":
            rows[:] = self.source.sites[place]
        if patches.site == "resid_pre":
            each = torch.arange(len(patches), device=rows.device)
            rows[each, patches.items] = self.source.sites[place][patches.items]
        return rows

    def _leave(self, patches: Patches) -> Tensor:
        """Return what leaves the layer's block for each patch, [row, pos, d_model]."""
        if patches.site == "mlp_out":
            return self._leave_with_mlp_out(patches)
        return self.base.resid_post[patches.layer] + self._change_by_neurons(patches)

    def _leave_with_mlp_out(self, patches: Patches) -> Tensor:
        """Return what leaves the block with the MLP's output patched at one position per row."""
        rows = _copies(self.base.resid_post[patches.layer], len(patches))
        each = torch.arange(len(patches), device=rows.device)
        rows[each, patches.items] += self._difference(patches.layer, "mlp_out")[patches.items]
        return rows

    def _change_by_neurons(self, patches: Patches) -> Tensor:
        """Return by how much each neuron's patch changes what the MLP adds to the residual stream."""
        change = rearrange(self._difference(patches.layer, "post")[:, patches.items], "pos row -> row pos")
        if patches.pos is not None:
            change = change * nn.functional.one_hot(patches.pos, self.suffix)
        w_out = self.engine.w_out(patches.layer)[patches.items]
        written = einsum(change, w_out, "row pos, row d_model -> row pos d_model")
        norm = self.engine.mlp_norm(patches.layer)
        return written if norm is None else self._behind_norm(patches.layer, written, norm)

    def _behind_norm(self, layer: int, written: Tensor, norm: nn.Module) -> Tensor:
        """Return how a change of the MLP's output shows behind the norm that follows it (Gemma 2)."""
        return norm(self.base.sites[layer, "w_out"] + written) - self.base.sites[layer, "mlp_out"]

    def _block(self, layer: int, rows: Tensor, inside: Sequence[Live]) -> Tensor:
        """Run a layer's block on all rows, and patch those whose patch lives inside it."""
        last = layer == self.engine.n_layers - 1
        hooks = self._attn_out_hooks(layer, [each for each in inside if each.patches.site not in HEAD_SITES])
        if last and not inside:
            hooks += self.engine.last_position_hooks(layer)
        prefix = self._prefix([each for each in inside if each.patches.site in HEAD_SITES])
        positional, named = self.base.calls[layer]
        with self.engine.attention.under(prefix), hooked(hooks):
            rows = first(self.engine.blocks[layer](rows, *positional, **named))
        return rows[:, -1:] if last else rows

    def _prefix(self, heads: Sequence[Live]) -> SharedPrefix:
        """Return the shared prefix, with the patches of a layer's heads."""

        def change(layer: int, site: str, activation: Tensor) -> Tensor:
            for each in heads:
                if each.patches.site == site:
                    activation = activation.clone()
                    activation[each.places(activation)] = self.source.sites[layer, site][each.patches.items]
            return activation

        return SharedPrefix(self.prefix.keys, self.prefix.values, change if heads else unchanged)

    def _attn_out_hooks(self, layer: int, patched: Sequence[Live]) -> list[Hook]:
        """Return the hooks that patch attn_out and resid_mid, both at what attention adds to the residual stream."""
        if not patched:
            return []

        def change(activation: Tensor) -> Tensor:
            activation = activation.clone()
            for each in patched:
                difference = self._difference(layer, each.patches.site)
                activation[each.places(activation)] += difference[each.patches.items]
            return activation

        path, end = self.engine.where["attn_out"]
        return [(self.engine.blocks[layer].get_submodule(path), end, change)]

    def _difference(self, layer: int, site: str) -> Tensor:
        """Return source minus base at a site, [pos, ...]."""
        return self.source.sites[layer, site] - self.base.sites[layer, site]


def _copies(activation: Tensor, number: int) -> Tensor:
    """Return an activation once per row, each row in memory of its own, [row, pos, d_model]."""
    rows = repeat(activation, "pos d_model -> row pos d_model", row=number)  # a view
    return rows.clone(memory_format=torch.contiguous_format)


def _joined(rows: Tensor, more: Sequence[Tensor]) -> Tensor:
    return torch.cat([rows, *more]) if more else rows
