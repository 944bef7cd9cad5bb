"""A decoder: the plain blocks of a model, and how their final residual stream becomes logits.

Patching and the corpus pass both stand on it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.model.blocks import Blocks, component_name
from an_neuron.model.hooks import hooked
from an_neuron.model.plain import tolerance, with_fast_gelus
from an_neuron.model.products import linear, with_fast_products

EXACT_SCALE = 1e-5
"""A measured factor this close to 1 is 1."""


class Decoder(Blocks):
    """The plain model behind a bridge, taken apart; its parameters are those of `Blocks`.

    Raises
    ------
    UserError
        If the architecture turns its final residual stream into logits in an unknown way.
    """

    def __init__(self, bridge: TransformerBridge, implementation: str) -> None:
        super().__init__(bridge, implementation)
        with_fast_gelus(self.model)
        with_fast_products(self.model)
        self.norm = self.model.get_submodule(component_name(bridge, "ln_final"))
        self.unembed = self.model.get_output_embeddings()
        self.softcap = getattr(self.model.config, "final_logit_softcapping", None)
        self.scale = 1.0
        self._measure_scale()

    def logits(self, residual: Tensor, tokens: Sequence[int] | None = None) -> Tensor:
        """Return the model's logits of some tokens, of all if None, for final residuals [..., d_model]."""
        return self.unembedded(self.norm(residual), slice(None) if tokens is None else list(tokens))

    def unembedded(self, normalized: Tensor, tokens: slice | list[int]) -> Tensor:
        """Return the logits of some tokens for what leaves the final norm, [..., d_model]."""
        bias = getattr(self.unembed, "bias", None)
        weight, bias = self.unembed.weight[tokens], None if bias is None else bias[tokens]
        logits = self.scale * linear(normalized, weight, bias).float()
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    @torch.inference_mode()
    def _measure_scale(self) -> None:
        """Measure by what the architecture multiplies its logits, and hold a few tokens' logits against the model's."""
        ids = torch.arange(3, device=self.device)[None] % self.d_vocab
        residuals: list[Tensor] = []
        with hooked([(self.norm, "in", residuals.append)]):
            expected = self.model(ids, use_cache=False).logits.float()
        found = self.logits(residuals[0])
        if self.softcap is None:
            scale = float((found * expected).sum() / found.square().sum())
            self.scale = 1.0 if abs(scale - 1) < EXACT_SCALE else scale
        worst = float((self.logits(residuals[0]) - expected).abs().max())
        if not worst <= tolerance(self.dtype) * max(1.0, float(expected.abs().max())):
            raise UserError(
                f"This architecture ({type(self.model).__name__}) turns the final residual stream into logits in a way "
                f"that is not known here (they differ by {worst:.1e}), so its logits cannot be measured."
            )
