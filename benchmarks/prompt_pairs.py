"""How long patching takes over many prompt pairs, and what nodes do together, beside one prompt pair alone.

    python benchmarks/prompt_pairs.py FOLDER [PROMPTS.csv] [--pairs 1 22 100] [--repeats 5] [--only sites heads ...]

FOLDER holds a Hugging Face model, which is loaded before. PROMPTS.csv has the columns clean and corrupted
(resources/smollm2/prompts.csv); its prompt pairs are repeated where more are asked for. `same` are its first prompt
pairs of the first one's length and first difference, `mixed` all of them in turn. Each time is the median of so many
runs in one process, wall time and processor time; the ratio is to the first prompt pair alone, times their number.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer, single_token
from an_neuron.patching.attribution import attribute, of_items
from an_neuron.patching.circuit import trace
from an_neuron.patching.curves import (
    KINDS,
    Ranking,
    effects_of_heads,
    effects_of_neurons,
    estimated_heads,
    greedy,
    measure_curves,
    rankings_of,
    smallest_set,
)
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.nodes import choose_nodes
from an_neuron.patching.sweeps import patch_listed_neurons, patch_sites_and_heads
from an_neuron.patching.together import OpenPromptPairs
from an_neuron.prompts.pairs import PromptPair, first_difference

RESOURCES = Path(__file__).parent.parent / "resources" / "smollm2" / "prompts.csv"
LISTED, CANDIDATES, HELD_OUT = 200, 28, 8


@dataclass(frozen=True)
class Patched:
    """A model, what is measured, and how its neurons and heads are ranked by attribution in one prompt pair."""

    engine: Engine
    metric: LogitDifference
    rankings: dict[str, list[Ranking]]

    def sites(self, pairs: Sequence[PromptPair]) -> object:
        """Patch all sites by position, and all heads (z), in one call."""
        return patch_sites_and_heads(self.engine, pairs, self.metric, head_sites=["z"])

    def neurons(self, pairs: Sequence[PromptPair]) -> object:
        """Patch the 200 best neurons."""
        best = [(node.layer, node.item) for node in self.rankings["neurons"][1].nodes[:LISTED]]
        return patch_listed_neurons(self.engine, pairs, self.metric, best)

    def curves(self, pairs: Sequence[PromptPair]) -> object:
        """Do what the job `measure_curves` does, with the first prompt pair as the main one."""
        rankings = [ranking for each in self.rankings.values() for ranking in each]
        opened = OpenPromptPairs(self.engine, pairs[:1], self.metric, rankings[-1].sites)
        for signed, *_ in self.rankings.values():
            rankings.append(greedy(opened, signed))
            smallest_set(opened, signed)
        return measure_curves(self.engine, pairs, self.metric, rankings)

    def circuit(self, pairs: Sequence[PromptPair]) -> object:
        """Do what the job `trace_circuit` does, with the nodes that attribution puts first."""
        possible = self.rankings["neurons and heads"][1].nodes[:CANDIDATES]
        studied = self.rankings["neurons"][0].nodes[0]
        nodes = choose_nodes(self.engine, pairs, self.metric, studied, possible)
        return trace(self.engine, pairs, self.metric, nodes)


def ranked(engine: Engine, pair: PromptPair, metric: LogitDifference) -> dict[str, list[Ranking]]:
    """Return the rankings of each kind, by attribution, and by attribution with noise: as many as a study has."""
    model, sites = engine.ordinary, [(layer, "post") for layer in range(engine.n_layers)]
    estimated = attribute(model, [pair], metric, sites)
    span = float(model.run(pair.clean, metric)[0] - model.run(pair.corrupted, metric)[0])
    by_neuron = np.stack([of_items(model, site, estimated[site])[0].numpy() for site in sites]) / span
    by_head = estimated_heads(engine, [pair], metric)
    effects = effects_of_neurons(by_neuron, range(engine.n_layers)) | effects_of_heads(by_head)
    noise = np.random.default_rng(0).normal(1, 0.3, len(effects))
    noisy = {node: value * factor for (node, value), factor in zip(effects.items(), noise, strict=True)}
    return {kind: rankings_of(kind, effects, noisy) for kind in KINDS}


def measured(work: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the median wall and processor seconds of some runs."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, processor = zip(*times, strict=True)
    return statistics.median(wall), statistics.median(processor)


def shape(pair: PromptPair) -> tuple[int, int]:
    return len(pair.clean), first_difference(pair.clean, pair.corrupted)


def compare(patched: Patched, pairs: Sequence[PromptPair], numbers: Sequence[int], only: str, repeats: int) -> None:
    """Print a line for each number of prompt pairs, of one shape and of all shapes."""
    of_a_shape = [pair for pair in pairs if shape(pair) == shape(pairs[0])]
    work: Callable[[Sequence[PromptPair]], object] = getattr(patched, only)
    work(pairs[:1])  # not counted
    alone = 0.0
    for name, these in (("same", of_a_shape), ("mixed", pairs)):
        for number in numbers if name == "same" else [number for number in numbers if number > 1]:
            wall, processor = measured(partial(work, [*islice(cycle(these), number)]), repeats)
            alone = alone or wall / number
            ratio = f"{wall / number / alone:.2f}"
            print(f"| {only} | {name} | {number} | {wall:.2f} | {processor:.2f} | {ratio} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("prompts", type=Path, nargs="?", default=RESOURCES)
    parser.add_argument("--answer", default=" an")
    parser.add_argument("--foil", default=" a")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 22, 100])
    parser.add_argument("--repeats", type=int, default=5)
    works = ("sites", "neurons", "curves", "circuit")
    parser.add_argument("--only", nargs="+", choices=works, default=works)
    arguments = parser.parse_args()
    tokenizer = Tokenizer(arguments.folder)
    with arguments.prompts.open(newline="") as file:
        written = list(csv.DictReader(file))
    pairs = [PromptPair(tokenizer.prompt(row["clean"]), tokenizer.prompt(row["corrupted"])) for row in written]
    metric = LogitDifference(*(single_token(tokenizer, text) for text in (arguments.answer, arguments.foil)))
    engine = Engine(load_model(arguments.folder, "cpu"))
    patched = Patched(engine, metric, ranked(engine, pairs[0], metric))
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, median of {arguments.repeats}\n")
    print("| what | prompt pairs | number | s | CPU s | ratio to one alone |\n|" + " --- |" * 6)
    for only in arguments.only:
        numbers = {"curves": [1 + HELD_OUT], "circuit": [1]}.get(only, arguments.pairs)
        compare(patched, pairs, numbers, only, arguments.repeats)


if __name__ == "__main__":
    main()
