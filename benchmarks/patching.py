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

import pandas as pd
import torch
from shapes import prompt_pair, random_bridge
from torch import Tensor, nn
from transformer_lens import patching as transformer_lens_patching
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.model.plain import plain_model
from an_neuron.patching.sweeps import Engine, LogitDifference, patch_neurons, patch_sites
from an_neuron.patching.wavefront import Pass, Patches
from an_neuron.prompts.pairs import PromptPair, first_difference

ANSWER, FOIL = 3, 7
METRIC = LogitDifference(ANSWER, FOIL)
BATCHES = (8, 32, 64)
SITES = ("resid_pre", "attn_out", "mlp_out")


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


class Operations:
    """Counts the multiplications and additions of matrix products that a sweep's suffix needs."""

    def __init__(self, bridge: TransformerBridge, prompt_pair: PromptPair) -> None:
        cfg = bridge.cfg
        self.n_layers, self.d_model, self.d_mlp = cfg.n_layers, cfg.d_model, cfg.d_mlp
        self.length = len(prompt_pair.clean)
        self.suffix = self.length - first_difference(prompt_pair.clean, prompt_pair.corrupted)

    def block(self, queries: int, keys: int) -> int:
        """Return the operations of a block for one row: keys and values of `keys` positions, all else of `queries`."""
        wide = self.d_model**2
        attention = 4 * queries * self.length * self.d_model
        return 2 * (keys * 2 * wide + queries * (2 * wide + 2 * self.d_model * self.d_mlp)) + attention

    def rows_through(self, first: int) -> int:
        """Return the operations of one row that enters block `first` and goes to the end."""
        if first == self.n_layers:
            return 0
        whole = self.n_layers - first - 1
        return whole * self.block(self.suffix, self.suffix) + self.block(1, self.suffix)

    def neurons(self, layer: int) -> int:
        return self.d_mlp * self.rows_through(layer + 1)

    def sites(self) -> int:
        entering = sum(self.rows_through(layer) for layer in range(self.n_layers))
        leaving = sum(self.rows_through(layer + 1) for layer in range(self.n_layers))
        return self.suffix * (2 * entering + leaving)


class Peers:
    """One forward pass for each patch, in three ways that people use."""

    def __init__(self, bridge: TransformerBridge, prompt_pair: PromptPair, layer: int) -> None:
        self.bridge, self.layer = bridge, layer
        device = bridge.cfg.device
        self.clean, self.corrupted = (
            torch.tensor([ids], device=device) for ids in (prompt_pair.clean, prompt_pair.corrupted)
        )
        names = [f"blocks.{at}.hook_{site}" for at in (0, layer) for site in SITES] + [f"blocks.{layer}.mlp.hook_post"]
        with torch.inference_mode():
            _, self.cache = bridge.run_with_cache(self.clean, names_filter=names)
        self.plain = plain_model(bridge)
        self.plain.config._attn_implementation = "sdpa"

    def site_by_transformer_lens(self, site: str, patches: int) -> None:
        """transformer_lens.patching.get_act_patch_*, for the last positions of a layer in the middle."""
        index = pd.DataFrame(
            [(self.layer, self.clean.shape[1] - 1 - i) for i in range(patches)], columns=["layer", "pos"]
        )
        sweep = getattr(transformer_lens_patching, f"get_act_patch_{site}")
        with torch.inference_mode():
            sweep(self.bridge, self.corrupted, self.cache, self._metric, index_axis_names=None, index_df=index)

    def neuron_by_transformer_lens(self, patches: int) -> None:
        """run_with_hooks, one neuron at a time, as in the notebook."""
        name = f"blocks.{self.layer}.mlp.hook_post"

        def put(activation: Tensor, hook: object, neuron: int) -> Tensor:
            activation[:, :, neuron] = self.cache[name][:, :, neuron]
            return activation

        with torch.inference_mode():
            for neuron in range(patches):
                self._metric(
                    self.bridge.run_with_hooks(self.corrupted, fwd_hooks=[(name, partial(put, neuron=neuron))])
                )

    @torch.inference_mode()
    def hooked_forwards(
        self, module: nn.Module, end: str, put: Callable[[Tensor, int, int], None], patches: int, rows: int
    ) -> None:
        """Hugging Face's own forward with a hook; each row of a batch carries a patch of its own."""
        for start in range(0, patches, rows):
            number = min(rows, patches - start)

            def hook(
                _module: nn.Module, inputs: tuple, output: object = None, start: int = start, number: int = number
            ) -> object:
                value = inputs[0] if output is None else output[0] if isinstance(output, tuple) else output
                value = value.clone()
                put(value, start, number)
                if output is None:
                    return (value, *inputs[1:])
                return (value, *output[1:]) if isinstance(output, tuple) else value

            handle = module.register_forward_pre_hook(hook) if end == "in" else module.register_forward_hook(hook)
            logits = self.plain(self.corrupted.expand(number, -1), use_cache=False).logits
            self._metric(logits)
            handle.remove()

    def sites_by_hooks(self, site: str, patches: int, rows: int) -> None:
        block = self.plain.transformer.h[self.layer]
        module, end = {"resid_pre": (block, "in"), "attn_out": (block.attn, "out"), "mlp_out": (block.mlp, "out")}[site]
        clean = self.cache[f"blocks.{self.layer}.hook_{site}"][0]

        def put(value: Tensor, start: int, number: int) -> None:
            own = torch.arange(number, device=value.device)
            positions = (start + own) % len(clean)
            value[own, positions] = clean[positions]

        self.hooked_forwards(module, end, put, patches, rows)

    def neurons_by_hooks(self, patches: int, rows: int) -> None:
        clean = self.cache[f"blocks.{self.layer}.mlp.hook_post"][0]

        def put(value: Tensor, start: int, number: int) -> None:
            own = torch.arange(number, device=value.device)
            value[own, :, start + own] = clean[:, start + own].T

        self.hooked_forwards(self.plain.transformer.h[self.layer].mlp.c_proj, "in", put, patches, rows)

    @staticmethod
    def _metric(logits: Tensor) -> Tensor:
        return (logits[:, -1, ANSWER] - logits[:, -1, FOIL]).mean()


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
    passed = Pass(
        engine, prompt_pair.corrupted, prompt_pair.clean, METRIC, {(layer, site) for site in ("post", "mlp_out")}
    )
    patches = [Patches(layer, "post", torch.arange(number, device=engine.device))]
    return seconds(lambda: passed.sweep(patches), repeats)


def share_of_rate(bridge: TransformerBridge, engine: Engine, prompt_pair: PromptPair, layer: int, rate: float) -> None:
    """Print the share of the matrix-product rate that a wave of neurons reaches at several sizes."""
    operations = Operations(bridge, prompt_pair)
    rows = []
    for number in (size for size in (128, 256, 512, 1024) if size <= engine.d_mlp):
        needed = number * operations.rows_through(layer + 1)
        spent = seconds_of_neurons(engine, prompt_pair, layer, number, 3)
        rows.append(
            [
                number,
                f"{spent:.2f}",
                f"{needed / 1e9:.0f}",
                f"{needed / spent / 1e9:.0f}",
                f"{needed / spent / rate:.2f}",
            ]
        )
    print(f"Share of the matrix-product rate ({rate / 1e9:.0f} GFLOP/s), neurons of layer {layer}:\n")
    show(["patches a wave", "s", "GFLOP needed", "GFLOP/s", "share"], rows)


def whole_model(bridge: TransformerBridge, engine: Engine, prompt_pair: PromptPair, whole: bool) -> None:
    """Print the time of every neuron of the model: run, or estimated from waves in some layers."""
    number = bridge.cfg.n_layers * bridge.cfg.d_mlp
    if whole:
        print(
            f"Whole model, {number:,} neurons: {seconds(lambda: patch_neurons(engine, [prompt_pair], METRIC), 1):.1f} s\n"
        )
        return
    operations = Operations(bridge, prompt_pair)
    sampled, wave = (0, bridge.cfg.n_layers // 2, bridge.cfg.n_layers - 2), min(256, engine.d_mlp)
    spent = sum(seconds_of_neurons(engine, prompt_pair, layer, wave) for layer in sampled)
    done = wave * sum(operations.rows_through(layer + 1) for layer in sampled)
    needed = sum(operations.neurons(layer) for layer in range(bridge.cfg.n_layers))
    print(
        f"Whole model, {number:,} neurons, {needed / 1e12:.0f} TFLOP: {spent * needed / done:.0f} s, estimated from "
        f"{wave} neurons of each of the layers {', '.join(map(str, sampled))}\n"
    )


def growth(name: str, device: str) -> None:
    """Print time and peak memory for four numbers of patched neurons and four lengths of suffix."""
    bridge = random_bridge(name, device, n_layer=4)
    rows = []
    for n_prompt_pairs in (1, 2, 4, 8):
        rows.append(["neurons", n_prompt_pairs * bridge.cfg.d_mlp, *measured(bridge, 20, n_prompt_pairs)])
    for suffix in (4, 8, 16, 32):
        rows.append(["suffix", suffix, *measured(bridge, 16 + suffix, 1)])
    print("Growth, four blocks, neurons of layer 2:\n")
    show(["grows", "size", "s", "s / size, relative", "peak MB beyond the weights"], relative(rows))


def relative(rows: list[list[object]]) -> list[list[object]]:
    first: dict[object, float] = {}
    shown = []
    for what, size, spent, peak in rows:
        first.setdefault(what, spent / size)
        shown.append([what, size, f"{spent:.2f}", f"{spent / size / first[what]:.2f}", f"{peak:.0f}"])
    return shown


def measured(bridge: TransformerBridge, length: int, n_prompt_pairs: int) -> list[float]:
    """Return seconds and peak memory of patching all neurons of layer 2 in some prompt pairs of a length."""
    prompt_pairs = [prompt_pair(bridge.cfg.d_vocab, length)] * n_prompt_pairs
    run = partial(patch_neurons, Engine(bridge), prompt_pairs, METRIC, [2])
    return [seconds(run, 1), peak_memory(run)]


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
    prompt_pair = prompt_pair(bridge.cfg.d_vocab)
    layer = min(31, bridge.cfg.n_layers - 2)
    start = time.perf_counter()
    engine = Engine(bridge)
    print(f"{arguments.shape} on {arguments.device}, {torch.get_num_threads()} threads, torch {torch.__version__}; "
          f"an engine is made in {time.perf_counter() - start:.1f} s\n")  # fmt: skip
    head = ["what", "how", "s", "patches/s", "times ours", "timed on"]
    show(head, compare_neurons(bridge, engine, prompt_pair, layer, arguments.sample))
    show(head, compare_sites(bridge, engine, prompt_pair, arguments.sample))
    share_of_rate(
        bridge, engine, prompt_pair, layer, matmul_rate(arguments.device, bridge.cfg.d_model, bridge.cfg.d_mlp)
    )
    whole_model(bridge, engine, prompt_pair, arguments.whole)
    if arguments.shape != "orchard":
        growth(arguments.shape, arguments.device)


if __name__ == "__main__":
    main()
