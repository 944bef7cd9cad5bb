"""One forward pass for each patch, in the ways that people use: what exact patching in one pass is timed against."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from transformer_lens import patching as transformer_lens_patching
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.model.blocks import Blocks
from an_neuron.model.plain import with_fast_gelus
from an_neuron.prompts.pairs import PromptPair

ANSWER, FOIL = 3, 7
SITES = ("resid_pre", "attn_out", "mlp_out")


class Peers:
    """One forward pass for each patch, in three ways that people use."""

    def __init__(
        self, bridge: TransformerBridge, prompt_pair: PromptPair, layer: int, tokens: tuple[int, int] = (ANSWER, FOIL)
    ) -> None:
        self.bridge, self.layer, self.tokens = bridge, layer, tokens
        device = bridge.cfg.device
        self.clean, self.corrupted = (
            torch.tensor([ids], device=device) for ids in (prompt_pair.clean, prompt_pair.corrupted)
        )
        names = [f"blocks.{each}.hook_{site}" for each in (0, layer) for site in SITES]
        names.append(f"blocks.{layer}.mlp.hook_post")
        with torch.inference_mode():
            _, self.cache = bridge.run_with_cache(self.clean, names_filter=names)
        self.blocks = Blocks(bridge, "sdpa")
        self.plain = self.blocks.model
        with_fast_gelus(self.plain)

    def site_by_transformer_lens(self, site: str, patches: int) -> None:
        """transformer_lens.patching.get_act_patch_*, for the last positions of a layer in the middle."""
        index = pd.DataFrame(
            [(self.layer, self.clean.shape[1] - 1 - i) for i in range(patches)], columns=["layer", "pos"]
        )
        sweep = getattr(transformer_lens_patching, f"get_act_patch_{site}")
        with torch.inference_mode():
            sweep(self.bridge, self.corrupted, self.cache, self._metric, index_axis_names=None, index_df=index)

    def neuron_by_transformer_lens(self, patches: int) -> None:
        """run_with_hooks, one neuron at a time, as in the notebook."""
        name = f"blocks.{self.layer}.mlp.hook_post"

        def put(activation: Tensor, hook: object, neuron: int) -> Tensor:
            activation[:, :, neuron] = self.cache[name][:, :, neuron]
            return activation

        with torch.inference_mode():
            for neuron in range(patches):
                self._metric(
                    self.bridge.run_with_hooks(self.corrupted, fwd_hooks=[(name, partial(put, neuron=neuron))])
                )

    @torch.inference_mode()
    def hooked_forwards(
        self, module: nn.Module, end: str, put: Callable[[Tensor, int, int], None], patches: int, rows: int
    ) -> Tensor:
        """Hugging Face's own forward with a hook; each row of a batch carries a patch of its own. Return the metric."""
        measured = []
        for start in range(0, patches, rows):
            number = min(rows, patches - start)

            def hook(
                _module: nn.Module, inputs: tuple, output: object = None, start: int = start, number: int = number
            ) -> object:
                value = inputs[0] if output is None else output[0] if isinstance(output, tuple) else output
                value = value.clone()
                put(value, start, number)
                if output is None:
                    return (value, *inputs[1:])
                return (value, *output[1:]) if isinstance(output, tuple) else value

            handle = module.register_forward_pre_hook(hook) if end == "in" else module.register_forward_hook(hook)
            logits = self.plain(self.corrupted.expand(number, -1), use_cache=False).logits
            measured.append(self._metric(logits))
            handle.remove()
        return torch.cat(measured)

    def sites_by_hooks(self, site: str, patches: int, rows: int) -> None:
        module, end = self._place(site)
        clean = self.cache[f"blocks.{self.layer}.hook_{site}"][0]

        def put(value: Tensor, start: int, number: int) -> None:
            rows = torch.arange(number, device=value.device)
            positions = (start + rows) % len(clean)
            value[rows, positions] = clean[positions]

        self.hooked_forwards(module, end, put, patches, rows)

    def neurons_by_hooks(self, patches: int, rows: int) -> Tensor:
        """Return the metric with each of a layer's first neurons patched, [neuron]."""
        clean = self.cache[f"blocks.{self.layer}.mlp.hook_post"][0]

        def put(value: Tensor, start: int, number: int) -> None:
            rows = torch.arange(number, device=value.device)
            value[rows, :, start + rows] = clean[:, start + rows].T.to(value.dtype)

        return self.hooked_forwards(*self._place("post"), put, patches, rows)

    def _place(self, site: str) -> tuple[nn.Module, str]:
        """Return the module of a site in the layer, and whether the site is what goes in or what comes out."""
        if site == "resid_pre":
            return self.blocks.blocks[self.layer], "in"
        return self.blocks.module(self.layer, site), self.blocks.place(self.layer, site).end

    def _metric(self, logits: Tensor) -> Tensor:
        answer, foil = self.tokens
        return logits[:, -1, answer] - logits[:, -1, foil]
