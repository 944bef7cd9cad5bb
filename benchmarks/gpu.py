"""A GPU's sweeps, in float32 and below, beside what its units can do.

    python benchmarks/gpu.py [gpt2-large|gpt2-small|orchard] [--device cuda] [--layer 31]

First the limits: the best rate of a large matrix product in each precision, and of a large copy. Then the neurons of a
layer, all neurons of the model and the three sweeps of the sites, spot checks and the second measurement in float32
included: the median of five runs after one that is not counted, their range, and the share of the unit's limit that the
operations of the sweep, the cost model's, stand for.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch
from neurons import timed
from patching import METRIC, SITES, shape_of, show, suffix_and_length
from shapes import random_bridge, random_prompt_pair
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.model.products import PRECISIONS
from an_neuron.patching.engine import Engine
from an_neuron.patching.sweeps import patch_neurons, patch_sites
from an_neuron.prompts.pairs import PromptPair
from an_neuron.study.operations import neuron_operations, site_operations

SIDE = {"cuda": 8192, "cpu": 1024}


def limit(device: str, precision: str) -> float:
    """Return the rate of a large square matrix product, in operations a second."""
    side = SIDE[device]
    one, other = (torch.randn(side, side, device=device) for _ in range(2))
    if precision == "bfloat16":
        one, other = one.bfloat16(), other.bfloat16()
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "high"
    spent = statistics.median(timed(lambda: one @ other))
    torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * side**3 / spent


def copying(device: str) -> float:
    """Return the rate of a large copy, in bytes read and written a second."""
    numbers = torch.randn(16 * SIDE[device] ** 2 // 4, device=device)
    target = torch.empty_like(numbers)
    return 2 * numbers.nbytes / statistics.median(timed(lambda: target.copy_(numbers)))


def sweeps(bridge: TransformerBridge, prompt_pair: PromptPair, layer: int) -> list[tuple[str, str, Callable, int]]:
    """Return each sweep: its name, precision, what runs it, and its operations."""
    engine, shape, lengths = Engine(bridge), shape_of(bridge), suffix_and_length(prompt_pair)
    of_layer = partial(neuron_operations, shape, *lengths)
    layers = {f"neurons of layer {layer}": [layer], "all neurons": list(range(shape.n_layers))}
    found = [
        (
            f"{name}, {len(chosen) * shape.d_mlp:,}",
            precision,
            partial(patch_neurons, engine, [prompt_pair], METRIC, chosen, precision=precision),
            sum(map(of_layer, chosen)),
        )
        for name, chosen in layers.items()
        for precision in PRECISIONS
    ]
    three = partial(patch_sites, engine, [prompt_pair], METRIC, SITES)
    return [*found, ("three sweeps of sites", "highest", three, len(SITES) * site_operations(shape, *lengths))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", default="gpt2-large")
    parser.add_argument("--device", default="cuda", choices=list(SIDE))
    parser.add_argument("--layer", type=int, default=None)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    bridge = random_bridge(arguments.shape, arguments.device)
    layer = min(31, bridge.cfg.n_layers - 2) if arguments.layer is None else arguments.layer
    prompt_pair = random_prompt_pair(bridge.cfg.d_vocab)
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else "CPU"
    limits = {precision: limit(arguments.device, precision) for precision in PRECISIONS}
    rates = ", ".join(f"{precision} {rate / 1e12:.3g}" for precision, rate in limits.items())
    print(
        f"{arguments.shape} on {name}, torch {torch.__version__}. Matrix products, TFLOP/s: {rates}; "
        f"a copy moves {copying(arguments.device) / 1e12:.3g} TB/s.\n",
        flush=True,
    )
    rows = []
    for what, precision, run, operations in sweeps(bridge, prompt_pair, layer):
        times = timed(run, arguments.repeats)
        spent = statistics.median(times)
        figures = [f"{spent:.3g}", f"{times[0]:.3g} to {times[-1]:.3g}", f"{operations / spent / 1e12:.3g}"]
        rows.append([what, precision, *figures, f"{operations / spent / limits[precision]:.2f}"])
    show(["what", "precision", "s", "range", "TFLOP/s", "share of the limit"], rows)
    if arguments.device == "cuda":
        print(f"Peak memory: {torch.cuda.max_memory_allocated() / 1e9:.3g} GB\n")


if __name__ == "__main__":
    main()
