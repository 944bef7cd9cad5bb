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

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from an_neuron.errors import UserError
from an_neuron.model.hooks import Hook, rows_apart
from an_neuron.patching.attention import SharedPrefix
from an_neuron.patching.passes import PrefixPass, copies
from an_neuron.patching.patches import LEAVING, Live, Patches, live
from an_neuron.patching.putting import put


class Pass(PrefixPass):
    """One prompt pair on a model, whose patches of one site each run as a wavefront."""

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
        rows = copies(self.base.sites[site], len(patches))
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


def _joined(rows: Tensor, more: Sequence[Tensor]) -> Tensor:
    return torch.cat([rows, *more]) if more else rows
