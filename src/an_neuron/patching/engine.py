"""A model made ready to be patched exactly: its plain blocks, where their sites are, and what follows the last one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers.pytorch_utils import Conv1D

from an_neuron.errors import UserError
from an_neuron.model.decoder import Decoder
from an_neuron.model.hooks import Hook
from an_neuron.patching import attention

WAVE_BYTES = (2 << 30, 400 << 20)
"""Memory of a wave on an accelerator and on a CPU, where larger waves are no faster."""
Logits = Callable[[Sequence[int] | None], Tensor]
Metric = Callable[[Tensor, Logits], Tensor]
"""(final residual [row, d_model], logits(tokens) -> [row, token]) -> a number for each row, [row]."""


@dataclass(frozen=True)
class LogitDifference:
    """The metric logit(answer) - logit(foil)."""

    answer: int
    foil: int

    def __call__(self, residual: Tensor, logits: Logits) -> Tensor:
        """Return logit(answer) - logit(foil) of each row."""
        answer, foil = logits((self.answer, self.foil)).unbind(-1)
        return answer - foil


class Engine(Decoder):
    """A model ready to be patched exactly.

    Parameters
    ----------
    bridge
        A TransformerLens bridge, with raw or processed weights.

    Raises
    ------
    UserError
        If the architecture cannot be treated exactly.
    """

    def __init__(self, bridge: TransformerBridge) -> None:
        super().__init__(bridge, attention.NAME)
        self.attention = attention.Attention(self.blocks)

    def batch(self, ids: Sequence[int]) -> Tensor:
        """Return token ids as a batch of one row, [1, pos]."""
        return torch.tensor([list(ids)], device=self.device)

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

    def measure(self, metric: Metric, residual: Tensor) -> Tensor:
        """Return the metric of final residuals, [row]."""
        return metric(residual, partial(self.logits, residual)).float()
