"""A model made ready to be patched exactly: its plain blocks, where their sites are, and what follows the last one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers.pytorch_utils import Conv1D

from an_neuron.errors import UserError
from an_neuron.model.hooks import Hook, hooked
from an_neuron.model.plain import TOLERANCE, module_behind, plain_model
from an_neuron.patching import attention

WAVE_BYTES = (2 << 30, 400 << 20)
"""Memory of a wave on an accelerator and on a CPU, where larger waves are no faster."""
Logits = Callable[[Sequence[int] | None], Tensor]
Metric = Callable[[Tensor, Logits], Tensor]
"""(final residual [row, d_model], logits(tokens) -> [row, token]) -> a number for each row [row]."""


@dataclass(frozen=True)
class LogitDifference:
    """The metric logit(answer) - logit(foil)."""

    answer: int
    foil: int

    def __call__(self, residual: Tensor, logits: Logits) -> Tensor:
        """Return logit(answer) - logit(foil) of each row."""
        answer, foil = logits((self.answer, self.foil)).unbind(-1)
        return answer - foil


class Engine:
    """A model ready to be patched exactly.

    Parameters
    ----------
    bridge
        A TransformerLens bridge, with raw or processed weights.
    implementation
        transformers' name of the attention function; patching needs its own.

    Raises
    ------
    UserError
        If the architecture cannot be treated exactly.
    """

    def __init__(self, bridge: TransformerBridge, implementation: str = attention.NAME) -> None:
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
        self.n_heads = dict.fromkeys(attention.HEAD_SITES, bridge.cfg.n_heads)
        for site in ("k", "v"):
            self.n_heads[site] = bridge.cfg.n_key_value_heads or bridge.cfg.n_heads
        self.d_mlp = bridge.cfg.d_mlp
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

    def w_out(self, layer: int) -> Tensor:
        """Return a layer's output weights, [d_mlp, d_model]."""
        module = self.blocks[layer].get_submodule(self.where["post"][0])
        if isinstance(module, Conv1D):
            return module.weight
        if isinstance(module, nn.Linear):
            return module.weight.T
        raise UserError(
            f"The neurons' output weights are a {type(module).__name__}, which exact patching does not know."
        )

    def tokens_per_wave(self, length: int) -> int:
        """Return how many token positions of prompts of a length may run at once, by what one takes in a block."""
        config = self.model.config
        floats = 3 * self.d_mlp + 10 * config.hidden_size + 4 * config.num_attention_heads * length
        return max(1, WAVE_BYTES[self.device.type == "cpu"] // (4 * floats))

    def mlp_norm(self, layer: int) -> nn.Module | None:
        """Return the norm between a layer's output weights and the residual stream, where there is one (Gemma 2)."""
        path = self.where["mlp_out"][0]
        return None if self.where["post"][0].startswith(f"{path}.") else self.blocks[layer].get_submodule(path)

    def last_position_hooks(self, layer: int) -> list[Hook]:
        """Return hooks that let a block compute only what its last position needs.

        The heads' outputs and the MLP's input are cut to the last position; in the residual sums around them it
        broadcasts over the others, whose values are then wrong, and unused.
        """
        block = self.blocks[layer]
        mlp = self.where["post"][0].rpartition(".")[0]
        cut = [block.get_submodule(self.where["z"][0]), block.get_submodule(mlp)]
        return [(module, "in", lambda activation: activation[:, -1:]) for module in cut]

    @torch.inference_mode()
    def _check_logits(self) -> None:
        """Hold the logits of a few tokens' final residuals against the model's own."""
        ids = torch.arange(3, device=self.device)[None] % self.model.config.vocab_size
        residuals: list[Tensor] = []
        with attention.ordinary(), hooked([(self.norm, "in", residuals.append)]):
            theirs = self.model(ids, use_cache=False).logits.float()
        worst = float((self.logits(residuals[0]) - theirs).abs().max())
        if not worst <= TOLERANCE * max(1.0, float(theirs.abs().max())):
            raise UserError(
                f"This architecture ({type(self.model).__name__}) turns the final residual stream into logits in a way "
                f"that is not known here (they differ by {worst:.1e}), so its logits cannot be measured."
            )

    def measure(self, metric: Metric, residual: Tensor) -> Tensor:
        """Return the metric of final residuals, [row]."""
        return metric(residual, partial(self.logits, residual)).float()


def _name(bridge: TransformerBridge, component: str) -> str:
    return str(bridge.adapter.component_mapping[component].name)
