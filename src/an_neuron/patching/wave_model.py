"""A decoder whose blocks run many rows behind shared keys and values: what the wavefront runs on."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from einops import einsum
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers.pytorch_utils import Conv1D

from an_neuron.model.decoder import Decoder
from an_neuron.model.hooks import Call, Function, Hook, first, hooked, noting_calls, rows_apart
from an_neuron.patching import attention
from an_neuron.patching.changed_products import Weights
from an_neuron.patching.metric import Inside, Logits, checked, measure

WAVE_BYTES = (2 << 30, 96 << 20)
"""Memory of a wave on an accelerator and on a CPU, where larger waves leave its caches and are slower."""
FACTOR_TOLERANCE = (1e-5, 0.06)
"""How far a block's response to a change may be from a multiple of it: in float32, and in half precision."""


@dataclass(frozen=True)
class Trial:
    """A block's part of a short forward, to be run again with a change: its input, other arguments and output."""

    entering: Tensor
    call: Call
    leaving: Tensor


@dataclass(frozen=True)
class Response:
    """A trial's activations, [1, pos, ...]: at the changed site, where it shows; and, for neurons, of the MLP."""

    at: Tensor
    shown: Tensor
    written: Tensor
    mlp_out: Tensor


class WaveModel(Decoder):
    """A decoder ready to run waves of patched rows.

    Parameters
    ----------
    bridge
        A TransformerLens bridge, with raw or processed weights.

    Raises
    ------
    UserError
        If the architecture's attention or logits are not known.
    """

    def __init__(self, bridge: TransformerBridge) -> None:
        super().__init__(bridge, attention.NAME)
        self.attention = attention.Attention(self.blocks)
        self.cuts_last_block = True
        self.weights: defaultdict[str, Weights] = defaultdict(dict)  # in reduced precisions
        self._factors: dict[tuple[int, str], float | None] = {}

    def batch(self, ids: Sequence[int]) -> Tensor:
        """Return token ids as a batch of one row, [1, pos]."""
        return torch.tensor([list(ids)], device=self.device)

    def w_out(self, layer: int) -> Tensor:
        """Return a layer's output weights, [d_mlp, d_model]."""
        module = self.module(layer, "post")
        weight: Tensor = module.weight  # type: ignore[assignment]
        return weight if isinstance(module, Conv1D) else weight.T

    def tokens_per_wave(self, length: int) -> int:
        """Return how many token positions of prompts of a length may run at once, by what one takes in a block."""
        config = self.model.config
        with_neurons = [layer for layer, places in enumerate(self.places) if "post" in places]
        widest = max((self.n_items(layer, "post") or 0 for layer in with_neurons), default=0)
        floats = 3 * widest + 10 * config.hidden_size + 4 * config.num_attention_heads * length
        return max(1, WAVE_BYTES[self.device.type == "cpu"] // (4 * floats))

    def mlp_norm(self, layer: int) -> nn.Module | None:
        """Return the norm between a layer's output weights and the residual stream, where there is one (Gemma 2)."""
        post, mlp_out = (self.place(layer, site) for site in ("post", "mlp_out"))
        within = post.path == mlp_out.path or post.path.startswith(f"{mlp_out.path}.")
        return None if within else self.module(layer, "mlp_out")

    def last_position_hooks(self) -> list[Hook]:
        """Return hooks that let the last block compute only what its last position needs.

        The heads' outputs and the MLP's input are cut to the last position; in the residual sums around them it
        broadcasts over the others, whose values are then wrong, and unused.
        """
        last = self.n_layers - 1
        if not (self.cuts_last_block and self.places[last].keys() >= {"z", "mlp_in"}):
            return []
        cut = [self.module(last, site) for site in ("z", "mlp_in")]
        return [(module, "in", lambda activation: activation[:, -1:]) for module in cut]

    def measure(self, metric: Callable[[Tensor, Logits], Tensor], residual: Tensor) -> Tensor:
        """Return the metric of final residuals, [row]."""
        return measure(metric, residual, partial(self.logits, residual))

    def measure_inside(self, metric: Inside, activation: Tensor) -> Tensor:
        """Return a metric inside the model, [row], of its site's activation, [row, pos, column]."""
        columns = None if metric.site == "resid_pre" else self.place(metric.layer, metric.site).columns
        there = activation[:, metric.position]
        return checked(metric.read(there, columns), there)

    def factor(self, layer: int, site: str) -> float | None:
        """Return by what a block multiplies a change of attn_out or mlp_out, or of what neurons (post) write.

        It is measured: the block runs again with a change there, in its middle for attn_out and to its end for the
        others. None if what shows is not a multiple of the change; the block must run then.
        """
        if (layer, site) not in self._factors:
            self._factors[layer, site] = self._measured_factor(layer, site)
        return self._factors[layer, site]

    @cached_property
    @torch.inference_mode()
    def _trials(self) -> list[Trial]:
        calls: list[Call] = []
        entering: list[Tensor] = []
        leaving: list[Tensor] = []
        hooks: list[Hook] = [(block, "in", entering.append) for block in self.blocks]
        hooks += [(block, "out", leaving.append) for block in self.blocks]
        with hooked(hooks), noting_calls(self.blocks, calls):
            self.model(self.batch([token % self.d_vocab for token in range(3)]), use_cache=False)
        return [Trial(*parts) for parts in zip(entering, calls, leaving, strict=True)]

    def written(self, layer: int, change: Tensor, w_out: Tensor, w_out_out: Tensor, mlp_out: Tensor) -> Tensor:
        """Return by how much a change of neurons changes mlp_out, [row, pos, d_model].

        Parameters
        ----------
        layer
            The neurons' layer.
        change
            Of one neuron in each row, [row, pos].
        w_out
            What each row's neuron writes, [row, d_model].
        w_out_out, mlp_out
            The base run's activations, before and behind the norm where there is one, [pos, d_model].
        """
        written = einsum(change, w_out, "row pos, row d_model -> row pos d_model")
        norm = self.mlp_norm(layer)
        return written if norm is None else norm(w_out_out + written) - mlp_out

    @torch.inference_mode()
    def _measured_factor(self, layer: int, site: str) -> float | None:
        base, changed = self._tried(layer, site, 0.0), self._tried(layer, site, 10.0)
        if site == "post":
            change = changed.at - base.at  # of one neuron, [1, pos, d_mlp]
            neuron = self.w_out(layer)[:1]
            expected = self.written(layer, change[..., 0], neuron, base.written[0], base.mlp_out[0])
        else:
            expected = changed.at - base.at
        found = changed.shown - base.shown
        factor = float((found * expected).sum() / expected.square().sum())
        off = float((found - factor * expected).abs().max()) / float(found.abs().max())
        allowed = FACTOR_TOLERANCE[self.dtype.itemsize < 4]
        if not off <= allowed:
            return None
        return 1.0 if abs(factor - 1) < allowed else factor

    def _tried(self, layer: int, site: str, size: float) -> "Response":
        """Run a block again, with a change of some size at the site; for neurons, of the first one alone."""
        trial, seen = self._trials[layer], dict[str, Tensor]()
        positional, named = trial.call
        generator = torch.Generator().manual_seed(0)

        def changing(activation: Tensor) -> Tensor:
            noise = torch.randn(activation.shape, generator=generator).to(activation)
            if site == "post":
                noise[..., 1:] = 0
            seen["at"] = activation + size * trial.leaving.square().mean().sqrt() * noise
            return seen["at"]

        def seeing(name: str) -> Function:
            return rows_apart(lambda activation: seen.__setitem__(name, activation), 1)

        place = self.place(layer, site)
        hooks: list[Hook] = [(self.module(layer, site), place.end, rows_apart(changing, 1))]
        if site == "attn_out":
            hooks.append((self.module(layer, "resid_mid"), self.place(layer, "resid_mid").end, seeing("shown")))
        if site == "post":
            hooks.append((self.module(layer, "post"), "out", seeing("written")))
            hooks.append((self.module(layer, "mlp_out"), self.place(layer, "mlp_out").end, seeing("mlp_out")))
        with hooked(hooks):
            left = first(self.blocks[layer](trial.entering, *positional, **named))
        nothing = torch.empty(0)
        return Response(**{"shown": left, "written": nothing, "mlp_out": nothing, **seen})
