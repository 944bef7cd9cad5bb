"""Products of changes: nearly all of a sweep's arithmetic, in a precision that is cheaper than float32.

Each row of a wave is the base run with a small change. What a linear module makes of the base run is recorded once, so
only the change of a row has to be multiplied:

    W x = W base + W (x - base)

Rounding is then relative to the change, not to the activation, and the second product may run in bfloat16 or, on a GPU,
in TF32. All between the products, norms, attention, activation functions and sums, stays as the architecture has it: in
float32, on whole activations. So no architecture is written twice. A product whose input is not laid out like the base
run's (a mixture of experts picks positions) runs in float32.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.model.products import LINEAR, NARROWEST, PRECISIONS, linear, seconds, weight_of
from an_neuron.patching.attention import fused_on

OFF = {"highest": 0.0, "high": 0.01, "bfloat16": 0.1}
"""How far a patch's effect may be off, as a share of it, in a spot check."""
FASTER = 3.0
"""How much faster products in bfloat16 must be for a study to take them unasked: as on a GPU, or with AMX."""
ROWS = 512

Weights = dict[nn.Module, Tensor]
Forward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Product:
    """What a linear module made of the base run: its input and output, [pos, d_in] and [pos, d_out]."""

    entering: Tensor
    leaving: Tensor


class ChangedProducts:
    """The linear modules of a model's blocks, which multiply only what rows change of a base run.

    Parameters
    ----------
    precision
        "high" or "bfloat16".
    weights
        The modules' weights in that precision, as far as they are there; the others are added.
    """

    def __init__(self, precision: str, weights: Weights) -> None:
        self.precision, self._weights = precision, weights
        self._base: dict[nn.Module, Product] = {}
        self._last: tuple[Tensor, Tensor] | None = None

    @contextmanager
    def recording(self, block: nn.Module) -> Iterator[None]:
        """Record what a block's modules make of the base run while it runs alone, as a single row."""

        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if inputs[0].ndim == 3:
                self._base[module] = Product(inputs[0][0].clone(), output[0].clone())

        handles = [module.register_forward_hook(record) for module in _linear(block)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def of_changes(self, block: nn.Module) -> Iterator[None]:
        """Let a block's modules multiply changes alone, as long as the context lasts."""
        forwards: dict[nn.Module, Forward] = {module: module.forward for module in _linear(block)}
        for module, forward in forwards.items():
            module.forward = partial(self._multiplied, module, forward)
        try:
            yield
        finally:
            self._last = None
            for module, forward in forwards.items():
                module.forward = forward

    def _multiplied(self, module: nn.Module, forward: Forward, entering: Tensor) -> Tensor:
        """Return a module's output, [row, pos, d_out]."""
        base = self._base.get(module)
        if base is None or entering.ndim != 3 or entering.shape[1] not in (1, len(base.entering)):
            return forward(entering)
        pos = entering.shape[1]  # all, or the last one alone where the last block computes no others
        change = self._change(entering, base.entering[-pos:])
        return product(change, self._weight(module)).add_(base.leaving[-pos:])

    def _change(self, entering: Tensor, base: Tensor) -> Tensor:
        """Return what rows change in a module's input; queries, keys and values have one input, and share it."""
        if self._last is None or self._last[0] is not entering:
            self._last = entering, entering - base if self.precision == "high" else _in_bfloat16(entering, base)
        return self._last[1]

    def _weight(self, module: nn.Module) -> Tensor:
        if module not in self._weights:
            weight = weight_of(module)
            weight = weight if self.precision == "high" else weight.to(torch.bfloat16)
            self._weights[module] = weight.contiguous()
        return self._weights[module]


def _in_bfloat16(entering: Tensor, base: Tensor) -> Tensor:
    fused = fused_on(entering.device) if entering.dtype == base.dtype == torch.float32 else None
    return (entering - base).to(torch.bfloat16) if fused is None else fused.change_in_bfloat16(entering, base)


def product(change: Tensor, weight: Tensor) -> Tensor:
    """Return a change [row, pos, d_in] times a weight [d_out, d_in] in float32, from products in their precision."""
    if change.dtype == torch.float32:
        with _tf32():
            return linear(change, weight)
    if change.device.type != "cuda":
        return nn.functional.linear(change, weight).float()
    flat = torch.mm(change.flatten(0, 1), weight.T, out_dtype=torch.float32)  # sums are not rounded
    return flat.unflatten(0, change.shape[:2])


def check_precision(precision: str, dtype: torch.dtype) -> None:
    """Stop where a sweep's precision is unknown, or lower than float32 for a model that is so itself."""
    if precision not in PRECISIONS:
        raise UserError(f"The precision of a sweep is one of {', '.join(PRECISIONS)}; not {precision!r}.")
    if precision != "highest" and dtype != torch.float32:
        raise UserError(f"Only a model in float32 is swept in another precision; this one is in {dtype}: take highest.")


def chosen_precision(precision: str, bridge: TransformerBridge) -> str:
    """Return a configured precision; for `auto` bfloat16 if the model's device multiplies it much faster."""
    cfg = bridge.cfg
    if precision != "auto":
        return precision
    pays = cfg.dtype == torch.float32 and bfloat16_pays(torch.device(cfg.device), cfg.d_model, cfg.d_mlp)
    return "bfloat16" if pays else "highest"


@cache
def bfloat16_pays(device: torch.device, d_model: int, d_mlp: int) -> bool:
    """Say whether a device multiplies changes in bfloat16 `FASTER` times as fast as float32.

    What the first product of an MLP takes is measured in both ways.
    """
    if d_model < NARROWEST:
        return False
    change, base = torch.ones(ROWS, 1, d_model, device=device), torch.ones(1, d_model, device=device)
    weight = torch.ones(d_mlp, d_model, device=device)
    low = weight.to(torch.bfloat16)
    exact = seconds(lambda: linear(change, weight), device)
    return FASTER * seconds(lambda: product((change - base).to(torch.bfloat16), low), device) < exact


def _linear(block: nn.Module) -> list[nn.Module]:
    return [module for module in block.modules() if type(module) in LINEAR]


@contextmanager
def _tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
