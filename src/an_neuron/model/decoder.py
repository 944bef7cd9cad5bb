"""A decoder: the plain blocks of a model, where their sites are, and what follows the last one.

Patching and the corpus pass both stand on it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.model.hooks import hooked
from an_neuron.model.plain import TOLERANCE, module_behind, plain_model

HEAD_SITES = ("q", "k", "v", "pattern", "z")


class Decoder:
    """The plain model behind a bridge, taken apart.

    Parameters
    ----------
    bridge
        A TransformerLens bridge, with raw or processed weights.
    implementation
        transformers' name of the attention function.

    Attributes
    ----------
    gated
        Whether a neuron is act(gate) * up (SwiGLU, GEGLU), of either sign, and not an activation function alone.

    Raises
    ------
    UserError
        If the architecture turns its final residual stream into logits in an unknown way.
    """

    def __init__(self, bridge: TransformerBridge, implementation: str) -> None:
        self.model = plain_model(bridge, implementation)
        self.device = next(self.model.parameters()).device
        self.blocks = [*self.model.get_submodule(_name(bridge, "blocks"))]
        self.norm = self.model.get_submodule(_name(bridge, "ln_final"))
        self.unembed = self.model.get_output_embeddings()
        self.softcap = getattr(self.model.config, "final_logit_softcapping", None)
        parallel = getattr(bridge.blocks[0], "hook_resid_mid", None) is None
        hooks = {"attn_out": "hook_attn_out", "mlp_out": "hook_mlp_out", "post": "mlp.hook_post", "z": "attn.hook_z"}
        if not parallel:
            hooks["resid_mid"] = "hook_resid_mid"
        self.where = {site: module_behind(bridge, 0, hook) for site, hook in hooks.items()}
        self.n_heads = dict.fromkeys(HEAD_SITES, bridge.cfg.n_heads)
        for site in ("k", "v"):
            self.n_heads[site] = bridge.cfg.n_key_value_heads or bridge.cfg.n_heads
        self.d_mlp = bridge.cfg.d_mlp
        self.gated = bool(bridge.cfg.gated_mlp)
        self._check_logits()

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def logits(self, residual: Tensor, tokens: Sequence[int] | None = None) -> Tensor:
        """Return the model's logits of some tokens, of all if None, for final residuals [..., d_model]."""
        return self.unembedded(self.norm(residual), slice(None) if tokens is None else list(tokens))

    def unembedded(self, normalized: Tensor, tokens: slice | list[int]) -> Tensor:
        """Return the logits of some tokens for what leaves the final norm, [..., d_model]."""
        bias = getattr(self.unembed, "bias", None)
        weight, bias = self.unembed.weight[tokens], None if bias is None else bias[tokens]
        logits = nn.functional.linear(normalized, weight, bias).float()
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    @torch.inference_mode()
    def _check_logits(self) -> None:
        """Hold the logits of a few tokens' final residuals against the model's own."""
        ids = torch.arange(3, device=self.device)[None] % self.model.config.vocab_size
        residuals: list[Tensor] = []
        with hooked([(self.norm, "in", residuals.append)]):
            expected = self.model(ids, use_cache=False).logits.float()
        worst = float((self.logits(residuals[0]) - expected).abs().max())
        if not worst <= TOLERANCE * max(1.0, float(expected.abs().max())):
            raise UserError(
                f"This architecture ({type(self.model).__name__}) turns the final residual stream into logits in a way "
                f"that is not known here (they differ by {worst:.1e}), so its logits cannot be measured."
            )


def _name(bridge: TransformerBridge, component: str) -> str:
    return str(bridge.adapter.component_mapping[component].name)
