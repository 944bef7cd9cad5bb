"""Exact patching against what people run: ratios measured side by side in one process.

    python benchmarks/patching.py [gpt2-large|gpt2-small|orchard] [--device cpu] [--whole]

Peers are timed on a sample of their patches and scaled to all; the table says how many. All run in float32 with
the same threads, after a warm-up that is not counted: ours is the median of two runs, a peer's a single one.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from peers import ANSWER, FOIL, SITES, Peers
from shapes import random_bridge, random_prompt_pair
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.model.folder import Shape
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.patches import Patches
from an_neuron.patching.sweeps import patch_neurons, patch_sites
from an_neuron.patching.wavefront import Pass
from an_neuron.prompts.pairs import PromptPair, first_difference
from an_neuron.study.operations import neuron_operations, row_operations

METRIC = LogitDifference(ANSWER, FOIL)
BATCHES = (8, 32, 64)


def seconds(run: Callable[[], object], repeats: int = 3) -> float:
    """Return the median time of a run, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        synchronize()
        start = time.perf_counter()
        run()
        synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matmul_rate(device: str, d_model: int, d_mlp: int) -> float:
    """Return the best rate of matrix products with the MLP's weights, in operations a second."""
    weight = torch.randn(d_model, d_mlp, device=device)
    rates = []
    for rows in (1024, 2048, 4096):
        inputs = torch.randn(rows, d_model, device=device)
        rates.append(2 * rows * d_model * d_mlp / seconds(lambda inputs=inputs: inputs @ weight, 9))
    return max(rates)


def shape_of(bridge: TransformerBridge) -> Shape:
    cfg = bridge.cfg
    return Shape(cfg.n_layers, cfg.d_model, cfg.d_mlp, cfg.n_ctx, cfg.d_vocab)


def suffix_and_length(prompt_pair: PromptPair) -> tuple[int, int]:
    """Return the positions from the first one at which the prompts differ, and all of them."""
    length = len(prompt_pair.clean)
    return length - first_difference(prompt_pair.clean, prompt_pair.corrupted), length


def compare_sites(
    bridge: TransformerBridge, engine: Engine, prompt_pair: PromptPair, sample: int
) -> list[list[object]]:
    """Return rows of the table: all three notebook sweeps by us and by the peers."""
    patches = len(SITES) * bridge.cfg.n_layers * len(prompt_pair.clean)
    peers = Peers(bridge, prompt_pair, bridge.cfg.n_layers // 2)
    ours = seconds(lambda: patch_sites(engine, [prompt_pair], METRIC, SITES), 2)
    lens = statistics.mean(seconds(partial(peers.site_by_transformer_lens, site, sample), 1) / sample for site in SITES)
    single = statistics.mean(seconds(partial(peers.sites_by_hooks, site, sample, 1), 1) / sample for site in SITES)
    batched = {
        rows: statistics.mean(seconds(partial(peers.sites_by_hooks, site, rows, rows), 1) / rows for site in SITES)
        for rows in BATCHES
    }
    name = "three sweeps"
    return table_rows(name, patches, ours, lens, single, batched, sample)


def compare_neurons(
    bridge: TransformerBridge, engine: Engine, prompt_pair: PromptPair, layer: int, sample: int
) -> list[list[object]]:
    """Return rows of the table: all neurons of a layer by us and by the peers."""
    peers = Peers(bridge, prompt_pair, layer)
    ours = seconds(lambda: patch_neurons(engine, [prompt_pair], METRIC, [layer]), 2)
    lens = seconds(partial(peers.neuron_by_transformer_lens, sample), 1) / sample
    single = seconds(partial(peers.neurons_by_hooks, sample, 1), 1) / sample
    batched = {rows: seconds(partial(peers.neurons_by_hooks, rows, rows), 1) / rows for rows in BATCHES}
    return table_rows(f"neurons of layer {layer}", bridge.cfg.d_mlp, ours, lens, single, batched, sample)


def table_rows(
    name: str, patches: int, ours: float, lens: float, single: float, batched: dict[int, float], sample: int
) -> list[list[object]]:
    best = min(batched, key=batched.__getitem__)
    ways = [
        ("an_neuron", ours, "all"),
        ("transformer_lens, one forward a patch", lens * patches, f"{sample} a sweep"),
        ("Hugging Face, one hooked forward a patch", single * patches, f"{sample} a sweep"),
        (f"Hugging Face, hooked, {best} patches a batch", batched[best] * patches, f"{best} a sweep"),
    ]
    return [
        [name, way, f"{spent:.2f}", f"{patches / spent:.1f}", f"{spent / ours:.0f}", timed]
        for way, spent, timed in ways
    ]


def show(head: list[str], rows: list[list[object]]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(head) + " |")
    print("|" + " --- |" * len(head))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)


def seconds_of_neurons(engine: Engine, prompt_pair: PromptPair, layer: int, number: int, repeats: int = 1) -> float:
    """Return the time of one wave that patches the first neurons of a layer."""
    passed = Pass(engine.fast, prompt_pair.corrupted, prompt_pair.clean, METRIC, {(layer, "post")})
    patches = [Patches(layer, "post", torch.arange(number, device=passed.device))]
    return seconds(lambda: passed.sweep(patches), repeats)


def share_of_rate(bridge: TransformerBridge, engine: Engine, prompt_pair: PromptPair, layer: int, rate: float) -> None:
    """Print the share of the matrix-product rate that a wave of neurons reaches at several sizes."""
    row = row_operations(shape_of(bridge), *suffix_and_length(prompt_pair), layer + 1)
    rows = []
    for number in (size for size in (128, 256, 512, 1024) if size <= bridge.cfg.d_mlp):
        needed = number * row
        spent = seconds_of_neurons(engine, prompt_pair, layer, number, 3)
        rate_reached = needed / spent
        figures = (f"{spent:.2f}", f"{needed / 1e9:.0f}", f"{rate_reached / 1e9:.0f}", f"{rate_reached / rate:.2f}")
        rows.append([number, *figures])
    print(f"Share of the matrix-product rate ({rate / 1e9:.0f} GFLOP/s), neurons of layer {layer}:\n")
    show(["patches a wave", "s", "GFLOP needed", "GFLOP/s", "share"], rows)


def whole_model(bridge: TransformerBridge, engine: Engine, prompt_pair: PromptPair, whole: bool) -> None:
    """Print the time of every neuron of the model: run, or estimated from waves in some layers."""
    number = bridge.cfg.n_layers * bridge.cfg.d_mlp
    if whole:
        spent = seconds(lambda: patch_neurons(engine, [prompt_pair], METRIC), 1)
        print(f"Whole model, {number:,} neurons: {spent:.1f} s\n")
        return
    shape, lengths = shape_of(bridge), suffix_and_length(prompt_pair)
    sampled, wave = (0, shape.n_layers // 2, shape.n_layers - 2), min(256, bridge.cfg.d_mlp)
    spent = sum(seconds_of_neurons(engine, prompt_pair, layer, wave) for layer in sampled)
    done = wave * sum(row_operations(shape, *lengths, layer + 1) for layer in sampled)
    needed = sum(neuron_operations(shape, *lengths, layer) for layer in range(shape.n_layers))
    print(
        f"Whole model, {number:,} neurons, {needed / 1e12:.0f} TFLOP: {spent * needed / done:.0f} s, estimated from "
        f"{wave} neurons of each of the layers {', '.join(map(str, sampled))}\n"
    )


def peak_memory(run: Callable[[], object]) -> float:
    """Return the most memory that tensors took during a run beyond what was there before, in MB."""
    if torch.cuda.is_available():
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    held = most = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            held += event.nbytes()
            most = max(most, held)
    return most / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", default="gpt2-large")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--whole", action="store_true", help="run the whole model instead of estimating it")
    parser.add_argument("--sample", type=int, default=3, help="patches on which peers that run one at a time are timed")
    arguments = parser.parse_args()
    bridge = random_bridge(arguments.shape, arguments.device)
    prompt_pair = random_prompt_pair(bridge.cfg.d_vocab)
    layer = min(31, bridge.cfg.n_layers - 2)
    start = time.perf_counter()
    engine = Engine(bridge)
    print(f"{arguments.shape} on {arguments.device}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
          f"an engine is made in {time.perf_counter() - start:.1f} s\n")  # fmt: skip
    head = ["what", "how", "s", "patches/s", "times ours", "timed on"]
    show(head, compare_neurons(bridge, engine, prompt_pair, layer, arguments.sample))
    show(head, compare_sites(bridge, engine, prompt_pair, arguments.sample))
    rate = matmul_rate(arguments.device, bridge.cfg.d_model, bridge.cfg.d_mlp)
    share_of_rate(bridge, engine, prompt_pair, layer, rate)
    whole_model(bridge, engine, prompt_pair, arguments.whole)


if __name__ == "__main__":
    main()
