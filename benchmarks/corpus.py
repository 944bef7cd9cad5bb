"""The corpus pass against what people run: ratios measured side by side in one process.

    python benchmarks/corpus.py [gpt2-large|gpt2-small|orchard] [--device cpu] [--rows 4] [--repeats 3]

All ways read the same rows in float32 with the same threads. They take turns, so that a change of the machine's
speed meets all of them, and each one's time is the median of its turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from patching import matmul_rate, peak_memory, show, synchronize
from shapes import random_bridge, random_model
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.corpus.associations import Association
from an_neuron.corpus.batches import rows_per_batch
from an_neuron.corpus.corpus_pass import record
from an_neuron.corpus.reader import PRECISIONS, Reader
from an_neuron.model.loading import process_weights

READOUT = "unembedding"


def some_associations(bridge: TransformerBridge, number: int) -> list[Association]:
    """Return associations spread over the layers."""
    layers = np.linspace(0, bridge.cfg.n_layers - 1, number).round().astype(int).tolist()
    return [Association(f"token {n}", 100 + n, layer, n, "listed") for n, layer in enumerate(layers)]


def some_rows(bridge: TransformerBridge, n_rows: int) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, bridge.cfg.d_vocab, (n_rows, bridge.cfg.n_ctx)).astype(np.int32)


def ours(reader: Reader, rows: np.ndarray) -> None:
    for _ in record(reader, rows):
        pass


@torch.inference_mode()
def plain_forward(model: torch.nn.Module, rows: np.ndarray, size: int) -> None:
    """Hugging Face's own forward with SDPA and all logits, which are then forgotten."""
    for start in range(0, len(rows), size):
        model(_ids(model, rows[start : start + size]), use_cache=False)


@torch.inference_mode()
def notebook_loop(bridge: TransformerBridge, rows: np.ndarray, association: Association) -> None:
    """One row at a time with two hooks, and all logits by an einsum (notebook, cell 60)."""
    activations, margins = [], []

    def save_activation(value: Tensor, hook: object) -> None:
        activations.append(value[:, :, association.index].flatten())

    def save_margin(value: Tensor, hook: object) -> None:
        logits = torch.einsum("vm, btm -> btv", bridge.W_E, value)
        own = logits[:, :, association.token_id].clone()
        logits[:, :, association.token_id] = -1e9
        margins.append((own - logits.max(dim=-1).values).flatten())

    hooks = [(f"blocks.{association.layer}.mlp.hook_post", save_activation), ("ln_final.hook_normalized", save_margin)]
    for row in rows:
        bridge.run_with_hooks(_ids(bridge, row[None]), fwd_hooks=hooks, return_type=None)


def _ids(model: torch.nn.Module, rows: np.ndarray) -> Tensor:
    return torch.from_numpy(rows.astype(np.int64)).to(next(model.parameters()).device)


def turns(ways: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each way in turn, after a round that is not counted."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats + 1):
        for name, way in ways.items():
            synchronize()
            start = time.perf_counter()
            way()
            synchronize()
            found[name].append(time.perf_counter() - start)
    return {name: spent[1:] for name, spent in found.items()}


def operations(bridge: TransformerBridge, n_ctx: int) -> int:
    """Return the multiplications and additions of matrix products that a token needs, attention seen backwards only."""
    cfg = bridge.cfg
    block = 2 * (4 * cfg.d_model**2 + 2 * cfg.d_model * cfg.d_mlp) + 2 * n_ctx * cfg.d_model
    return cfg.n_layers * block + 2 * cfg.d_model * cfg.d_vocab


def compare(bridge: TransformerBridge, name: str, args: argparse.Namespace) -> None:
    """Print the time of a pass with 1 and 16 associations beside its peers', and its share of the matrix products."""
    rows = some_rows(bridge, args.rows)
    size = rows_per_batch(rows.shape[1], bridge.cfg.device == "cpu")
    plain = random_model(name, args.device)
    one, many = (Reader(bridge, some_associations(bridge, number), READOUT) for number in (1, 16))
    ways: dict[str, Callable[[], object]] = {
        "an_neuron, 1 association": partial(ours, one, rows),
        "an_neuron, 16 associations": partial(ours, many, rows),
        f"Hugging Face, SDPA, all logits, {size} rows a batch": partial(plain_forward, plain, rows, size),
        "Hugging Face, SDPA, all logits, 1 row a batch": partial(plain_forward, plain, rows, 1),
    }
    spent = turns(ways, args.repeats)
    rate = matmul_rate(args.device, bridge.cfg.d_model, bridge.cfg.d_mlp)
    needed = rows.size * operations(bridge, rows.shape[1])
    table = []
    first = spent["an_neuron, 1 association"]
    for way, times in spent.items():
        median = statistics.median(times)
        ratio = statistics.median(theirs / mine for theirs, mine in zip(times, first, strict=True))
        shown = [f"{median:.2f}", f"{rows.size / median:.1f}", f"{ratio:.2f}", f"{needed / median / rate:.2f}"]
        table.append([way, *shown])
    print(f"{rows.size:,} tokens in rows of {rows.shape[1]}; matrix products at {rate / 1e9:.0f} GFLOP/s:\n")
    show(["how", "s", "tokens/s", "times ours", "share of the matrix-product rate"], table)


def compare_notebook(bridge: TransformerBridge, args: argparse.Namespace) -> None:
    """Print the time of the notebook's loop, with processed weights as in the notebook, beside ours."""
    association, rows = some_associations(bridge, 1)[0], some_rows(bridge, args.notebook_rows)
    reader = Reader(bridge, [association], READOUT)
    process_weights(bridge, ["fold_ln", "center_writing_weights", "center_unembed"])
    ways = {"mine": partial(ours, reader, rows), "theirs": partial(notebook_loop, bridge, rows, association)}
    spent = turns(ways, args.repeats)
    mine, theirs = (statistics.median(spent[name]) for name in ("mine", "theirs"))
    ratio = statistics.median(b / a for a, b in zip(spent["mine"], spent["theirs"], strict=True))
    print(f"The notebook's loop, {rows.size:,} tokens: {theirs:.2f} s, ours {mine:.2f} s: {ratio:.2f} times ours.\n")


def growth(name: str, device: str) -> None:
    """Print the peak memory beyond the weights for four lengths of a corpus, in four blocks of the model."""
    bridge = random_bridge(name, device, n_layer=4)
    reader = Reader(bridge, some_associations(bridge, 4), READOUT)
    size = rows_per_batch(bridge.cfg.n_ctx, reader.on_cpu)
    table = []
    for batches in (1, 2, 4, 8):
        rows = some_rows(bridge, batches * size)
        table.append([f"{rows.size:,}", f"{peak_memory(partial(ours, reader, rows)):.0f}"])
    print("Growth, four blocks:\n")
    show(["tokens", "peak MB beyond the weights"], table)


def errors(name: str, device: str) -> None:
    """Print how far each precision is from float32, relative to the largest value, on random weights."""
    rows, found = None, {}
    for precision in PRECISIONS:
        bridge = random_bridge(name, device)
        rows = some_rows(bridge, 1) if rows is None else rows
        parts = list(record(Reader(bridge, some_associations(bridge, 16), READOUT, precision), rows))
        found[precision] = [
            np.concatenate([getattr(part, what) for part in parts], 1) for what in ("activation", "margin")
        ]
    table = []
    for precision, values in found.items():
        shown = [precision]
        for value, exact in zip(values, found["highest"], strict=True):
            shown += [f"{abs(value - exact).max():.1e}", f"{np.sqrt(((value - exact) ** 2).mean()):.1e}"]
        table.append(shown)
    print("Difference from float32 (`highest`):\n")
    show(["precision", "activation, largest", "activation, RMS", "margin, largest", "margin, RMS"], table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", default="gpt2-large")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--notebook-rows", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    bridge = random_bridge(args.shape, args.device)
    compare(bridge, args.shape, args)
    compare_notebook(bridge, args)
    del bridge
    growth(args.shape, args.device)
    errors(args.shape, args.device)


if __name__ == "__main__":
    main()
