"""How time and memory of patching grow with its size, in each of its ways.

    python benchmarks/growth.py [gpt2-large|gpt2-small] [--device cpu] [--only neurons suffix ...]

Four blocks of a shape, random weights. The prompt pairs are all different. A time is the median of three runs after a
warm-up; the memory is what tensors take at most beyond what was there before.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial

import torch
from patching import METRIC, peak_memory, seconds
from shapes import random_bridge, random_prompt_pair

from an_neuron.patching.engine import Engine
from an_neuron.patching.rows import Node
from an_neuron.patching.screening import screen_neurons
from an_neuron.patching.sweeps import patch_neurons, patch_sites_and_heads
from an_neuron.patching.together import patch_together
from an_neuron.prompts.pairs import PromptPair

N_BLOCKS, LAYER = 4, 2
TIMES = (1, 2, 4, 8)
RUNS = Iterator[tuple[int, Callable[[], object]]]
"""Sizes, and what is run at each."""


def prompt_pairs(engine: Engine, number: int) -> list[PromptPair]:
    return [random_prompt_pair(engine.ordinary.d_vocab, seed=seed) for seed in range(number)]


def neurons(engine: Engine, precision: str) -> RUNS:
    """All neurons of a layer, by the number of prompt pairs."""
    d_mlp = engine.ordinary.n_items(LAYER, "post")
    for number in TIMES:
        pairs = prompt_pairs(engine, number)
        yield number * d_mlp, partial(patch_neurons, engine, pairs, METRIC, [LAYER], precision=precision)


def suffix(engine: Engine) -> RUNS:
    """All neurons of a layer in one prompt pair, by the positions from its first difference on."""
    for number in TIMES:
        pair = random_prompt_pair(engine.ordinary.d_vocab, 16 + 4 * number)
        yield 4 * number, partial(patch_neurons, engine, [pair], METRIC, [LAYER])


def sites_and_heads(engine: Engine) -> RUNS:
    """All sites by position, and all heads, by the number of prompt pairs."""
    for number in TIMES:
        yield number, partial(patch_sites_and_heads, engine, prompt_pairs(engine, number), METRIC)


def screened(engine: Engine) -> RUNS:
    """Neurons of all layers that attribution puts first, and half as many at random, by their number."""
    pair = prompt_pairs(engine, 1)
    for number in TIMES:
        screen, sample = 1000 * number, 500 * number
        yield screen + sample, partial(screen_neurons, engine, pair, METRIC, screen=screen, sample=sample)


def together(engine: Engine) -> RUNS:
    """Give sets of two neurons, by their number."""
    pair = prompt_pairs(engine, 1)
    for number in TIMES:
        sets = [[Node(0, "post", item), Node(LAYER, "post", item)] for item in range(200 * number)]
        yield len(sets), partial(patch_together, engine, pair, METRIC, sets)


GROWS = {
    "neurons": partial(neurons, precision="highest"),
    "neurons, bfloat16": partial(neurons, precision="bfloat16"),
    "suffix": suffix,
    "sites and heads": sites_and_heads,
    "screened": screened,
    "sets": together,
}


def growth(engine: Engine, what: str) -> None:
    """Print a row of the table for each size."""
    first = 0.0
    for size, run in GROWS[what](engine):
        spent = seconds(run, 3)
        first = first or spent / size
        print(f"| {what} | {size:,} | {spent:.2f} | {spent / size / first:.2f} | {peak_memory(run):.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", default="gpt2-large")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", choices=GROWS, default=[*GROWS])
    arguments = parser.parse_args()
    engine = Engine(random_bridge(arguments.shape, arguments.device, n_layer=N_BLOCKS))
    print(f"{arguments.shape}, {N_BLOCKS} blocks, on {arguments.device}, {torch.get_num_threads()} threads\n")
    print("| grows | size | s | s / size, relative | peak MB beyond the weights |\n| --- | --- | --- | --- | --- |")
    for what in arguments.only:
        growth(engine, what)


if __name__ == "__main__":
    main()
