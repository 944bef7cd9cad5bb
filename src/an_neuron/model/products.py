"""Products with a model's weights, in float32, by the faster of the two libraries that torch brings for a CPU.

By default torch multiplies float32 matrices by MKL, which leaves the widest vectors of AMD processors (AVX-512) idle.
oneDNN, which comes with torch as well, uses them: it is more than twice as fast there, and as exact. Which one is
faster is measured on the machine, once per process.
"""

import time
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

LINEAR = (nn.Linear, Conv1D)
PRECISIONS = ("highest", "high", "bfloat16")
"""Of products: float32; TF32 on a GPU, float32 on a CPU; bfloat16."""
NARROWEST = 256
"""Products of narrower inputs take no time to speak of, so their model always takes torch's default."""
FASTER = 1.5
"""How much faster another way of multiplying must be to be taken: it is twice as fast or more, or not at all."""
ROWS, WIDTH, REPEATS = 256, 768, 5
CPU = torch.device("cpu")


def linear(entering: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `entering` [..., d_in] times `weight` [d_out, d_in], and a bias; the same to rounding either way."""
    if _may_take_one_dnn(entering, weight) and one_dnn_is_faster():
        return _by_one_dnn(entering, weight, bias)
    return nn.functional.linear(entering, weight, bias)


def with_fast_products(model: nn.Module) -> None:
    """Let a model's linear modules multiply by `linear`, in place.

    Conv1D keeps a copy of its weight, unless that lies in memory transposed.
    """
    for module in model.modules():
        if type(module) not in LINEAR:
            continue
        weight = weight_of(module)
        if _may_take_one_dnn(weight, weight) and one_dnn_is_faster():
            module.forward = partial(_multiplied, module, weight.contiguous() if isinstance(module, Conv1D) else None)


@torch.no_grad()
def lay_out_for_products(model: nn.Module) -> None:
    """Let the weights of a model's Conv1D modules lie in memory as oneDNN wants them, in place: the values stay.

    Else `with_fast_products` has to keep a copy of each.
    """
    for module in model.modules():
        weight = weight_of(module) if type(module) is Conv1D else None
        if weight is not None and _may_take_one_dnn(weight, weight) and one_dnn_is_faster():
            module.weight = nn.Parameter(weight.contiguous().T, requires_grad=weight.requires_grad)


def weight_of(module: nn.Module) -> Tensor:
    """Return a linear module's weight, [d_out, d_in]; a view."""
    weight: Tensor = module.weight  # type: ignore[assignment]
    return weight.T if isinstance(module, Conv1D) else weight


@cache
def one_dnn_is_faster() -> bool:
    """Say whether oneDNN multiplies float32 matrices on this CPU much faster than torch's default, and as exactly."""
    if not torch.backends.mkldnn.is_available():
        return False
    chance = torch.Generator().manual_seed(0)  # a notebook's own stream of random numbers goes on as it was
    entering, weight = (torch.rand(rows, WIDTH, generator=chance) - 0.5 for rows in (ROWS, WIDTH))
    default, other = (partial(way, entering, weight, None) for way in (nn.functional.linear, _by_one_dnn))
    exact = entering.double() @ weight.T.double()
    errors = [float((way() - exact).abs().max()) for way in (default, other)]
    return errors[1] < 8 * errors[0] and FASTER * seconds(other) < seconds(default)


def seconds(run: Callable[[], object], device: torch.device = CPU) -> float:
    """Return the shortest of a few times that something takes on a device, after it ran once.

    A CPU does it in one thread: others' work on the machine must not decide which way looks faster.
    """
    times, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(REPEATS + 1):
        _finish(device)
        start = time.perf_counter()
        run()
        _finish(device)
        times.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return min(times[1:])


def _finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _may_take_one_dnn(entering: Tensor, weight: Tensor) -> bool:
    on_cpu = entering.device.type == "cpu" and weight.device.type == "cpu"
    in_float32 = entering.dtype == weight.dtype == torch.float32
    needs_gradient = torch.is_grad_enabled() and (entering.requires_grad or weight.requires_grad)
    return on_cpu and in_float32 and not needs_gradient and weight.shape[1] >= NARROWEST


def _by_one_dnn(entering: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(entering, weight, bias, "none", [], "")
    return product


def _multiplied(module: nn.Module, transposed: Tensor | None, entering: Tensor) -> Tensor:
    """Return what a linear module makes of its input, in whatever precision it is by now."""
    weight = weight_of(module)
    if transposed is not None and weight.dtype == transposed.dtype:
        weight = transposed
    bias: Tensor | None = module.bias  # type: ignore[assignment]
    return linear(entering, weight, bias)
