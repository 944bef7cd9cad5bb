"""The neurons of a layer in every way at hand: ours in float32 and below, and what people run, in one process.

    python benchmarks/neurons.py smollm2 FOLDER [--layer 15] [--whole]
    python benchmarks/neurons.py gpt2-large [--layer 31]

Each way is timed five times after a warm-up; the table gives the median and the range. Peers that take one forward per
patch are timed on three patches, batched ones on one batch, and scaled to the layer. Values are held against float32.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from peers import ANSWER, FOIL, Peers
from shapes import random_bridge, random_prompt_pair
from torch import Tensor

from an_neuron.model import products
from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer, single_token
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.patches import Patches
from an_neuron.patching.remeasuring import DRAWN, LARGEST
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.patching.waves import rows_per_wave, run_in_waves
from an_neuron.prompts.pairs import PromptPair

SENTENCE = "I climbed up the pear tree and picked a pear. I climbed up the {} tree and picked"
SINGLE, REPEATS = 3, 5
BATCHES = {"cpu": (8, 32, 64, 128), "cuda": (32, 128, 512, 2048)}
REDUCED = {"cpu": ("bfloat16",), "cuda": ("high", "bfloat16")}
"""On a CPU `high` is float32."""


def timed(run: Callable[[], object], repeats: int = REPEATS) -> list[float]:
    """Return the times of runs in ascending order, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return sorted(times[1:])


class Layer:
    """A model, a prompt pair, and the neurons of one layer."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        if arguments.shape == "smollm2":
            self.bridge = load_model(Path(arguments.folder), torch.device(arguments.device))
            tokenizer = Tokenizer(Path(arguments.folder))
            self.tokens = tuple(single_token(tokenizer, text) for text in (" an", " a"))
            self.prompt_pair = PromptPair(*(tokenizer.prompt(SENTENCE.format(noun)) for noun in ("apple", "lemon")))
        else:
            self.bridge, self.tokens = random_bridge(arguments.shape, arguments.device), (ANSWER, FOIL)
            self.prompt_pair = random_prompt_pair(self.bridge.cfg.d_vocab)
        self.layer, self.d_mlp, self.device = arguments.layer, self.bridge.cfg.d_mlp, arguments.device
        self.metric = LogitDifference(*self.tokens)

    def ours(self, precision: str) -> Callable[[], Tensor]:
        """Return what patches all neurons of the layer, once, and returns the metric with each."""
        ends = self.prompt_pair.corrupted, self.prompt_pair.clean
        _, passed = Engine(self.bridge).open(*ends, self.metric, {(self.layer, "post")}, precision=precision)
        patches = [Patches(self.layer, "post", torch.arange(self.d_mlp, device=passed.device))]
        return lambda: run_in_waves(passed, patches, rows_per_wave(passed, None))[0]

    def range(self) -> float:
        """Return by how much the metric of both prompts differs."""
        ends = self.prompt_pair.corrupted, self.prompt_pair.clean
        _, passed = Engine(self.bridge).open(*ends, self.metric, set())
        return float(passed.source_value - passed.base_value)


def row(name: str, times: list[float], scale: float, ours: float, off: str) -> list[str]:
    median, least, most = (scale * each for each in (statistics.median(times), times[0], times[-1]))
    return [name, f"{median:.3g}", f"{least:.3g} to {most:.3g}", f"{median / ours:.3g}", off]


def error(found: Tensor, exact: Tensor, whole: float) -> str:
    """Return how far values are off: median and 99th percentile of the share, of recoveries above 0.001.

    Most neurons do nothing, so the median value stands for the run without a patch, in each way its own.
    """
    recovery, of_found = ((values.float() - values.float().median()) / whole for values in (exact, found))
    off, exact = (of_found - recovery).abs(), recovery.abs()
    large = exact > 1e-3
    if not large.any():
        return f"at most {off.max():.1e} of recovery"
    shares = off[large] / exact[large]
    return f"median {shares.median():.2%}, 99th percentile {shares.quantile(0.99):.2%} of {int(large.sum())}"


def compare(layer: Layer) -> list[list[str]]:
    """Return the rows of the table."""
    whole = layer.range()
    ways: dict[str, Callable[[], Tensor]] = {"an_neuron, float32": layer.ours("highest")}
    if layer.device == "cpu" and products.one_dnn_is_faster():
        honest = products.one_dnn_is_faster
        products.one_dnn_is_faster = lambda: False  # type: ignore[assignment]
        ways["an_neuron, float32 by torch's default products"] = layer.ours("highest")
        products.one_dnn_is_faster = honest
    ways |= {f"an_neuron, {precision}": layer.ours(precision) for precision in REDUCED[layer.device]}
    exact = ways["an_neuron, float32"]()
    rows, ours = [], 0.0
    for name, run in ways.items():
        times = timed(run)
        ours = ours or statistics.median(times)
        rows.append(row(name, times, 1, ours, error(run(), exact, whole)))
    peers = Peers(layer.bridge, layer.prompt_pair, layer.layer, layer.tokens)
    single = {
        "transformer_lens, one forward per patch": partial(peers.neuron_by_transformer_lens, SINGLE),
        "Hugging Face, one hooked forward per patch": partial(peers.neurons_by_hooks, SINGLE, 1),
    }
    rows += [row(name, timed(run), layer.d_mlp / SINGLE, ours, "") for name, run in single.items()]
    rows.append(best_batch("float32", peers, layer, ours, exact, whole))
    peers.plain.bfloat16()
    rows.append(best_batch("bfloat16", peers, layer, ours, exact, whole))
    return rows


def best_batch(precision: str, peers: Peers, layer: Layer, ours: float, exact: Tensor, whole: float) -> list[str]:
    """Return the row of the fastest of several sizes of hooked batches."""
    sizes = BATCHES[layer.device]
    spent = {size: timed(partial(peers.neurons_by_hooks, size, size), 1)[0] / size for size in sizes}
    size = min(spent, key=spent.__getitem__)
    times = timed(partial(peers.neurons_by_hooks, size, size))
    off = error(peers.neurons_by_hooks(size, size), exact[:size], whole)
    return row(f"Hugging Face, {precision}, {size} hooked patches per batch", times, layer.d_mlp / size, ours, off)


def whole_model(layer: Layer) -> None:
    """Print time and errors of every neuron of the model in float32 and below, before anything is measured again."""
    engine, swept = Engine(layer.bridge), {}
    for precision in ("highest", *REDUCED[layer.device]):
        start = time.perf_counter()
        swept[precision] = patch_neurons(engine, [layer.prompt_pair], layer.metric, precision=precision)
        spent = time.perf_counter() - start
        print(f"Every neuron, {precision}: {spent:.2f} s, spot checks included; {swept[precision]}")
    exact = swept.pop("highest").recovery
    for precision, sweep in swept.items():
        print(f"{precision}, {errors(layer, sweep, exact)}")


def errors(layer: Layer, sweep: Sweep, exact: Tensor) -> str:
    """Return how far the recoveries of a sweep in reduced precision were off before anything was measured again."""
    reduced, again = sweep.recovery.clone(), sweep.again
    reduced[again.layer, again.index] = torch.from_numpy(again.reduced)
    off, size = (reduced - exact).abs(), exact.abs()
    large = size > 1e-3
    shares = off[large] / size[large]
    largest = set(size.flatten().topk(500).indices.tolist())
    chosen = {int(place) for place in (again.layer * layer.d_mlp + again.index)[~again.drawn]}
    return (
        f"before anything is measured again: {int(large.sum()):,} recoveries above 0.001, off by {shares.median():.2%} "
        f"(median), {shares.quantile(0.99):.2%} (99th percentile); below, by at most {off[~large].max():.1e}. "
        f"Of the 500 largest {len(largest - chosen)} are not among the {LARGEST:,} measured again (and {DRAWN} drawn)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape")
    parser.add_argument("folder", nargs="?")
    parser.add_argument("--layer", type=int, default=None)
    parser.add_argument("--device", default="cpu", choices=list(BATCHES))
    parser.add_argument("--whole", action="store_true", help="every neuron of the model, too")
    arguments = parser.parse_args()
    arguments.layer = arguments.layer or {"smollm2": 15, "gpt2-large": 31}.get(arguments.shape, 1)
    layer = Layer(arguments)
    print(f"{arguments.shape}, layer {layer.layer}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| how | s | range | times ours | off by |\n| --- | --- | --- | --- | --- |")
    for cells in compare(layer):
        print("| " + " | ".join(cells) + " |", flush=True)
    if arguments.whole:
        print()
        whole_model(layer)


if __name__ == "__main__":
    main()
