"""How long ways to estimate patches take, and the exact sweeps of the heads beside them.

    python benchmarks/methods.py FOLDER CLEAN CORRUPTED ANSWER FOIL [--kinds neurons heads]

FOLDER holds a Hugging Face model, which is loaded before. Each time is the median of three runs, in seconds of one
processor core, so that other work on the machine counts little. The exact sweep of all neurons takes minutes: its time
stands in a study's benchmarks/patch_neurons/.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer, single_token
from an_neuron.patching.engine import Engine
from an_neuron.patching.methods import METHODS, concerns
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweeps import patch_heads
from an_neuron.prompts.pairs import PromptPair

SITES = {"neurons": "post", "heads": "z", "heads' values": "v", "heads' queries": "q", "heads' keys": "k"}


def seconds(work: Callable[[], object]) -> float:
    """Return the median processor time of three runs."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    for name in ("clean", "corrupted", "answer", "foil"):
        parser.add_argument(name)
    parser.add_argument("--kinds", nargs="+", choices=SITES, default=[*SITES])
    arguments = parser.parse_args()
    kinds = {kind: SITES[kind] for kind in arguments.kinds}
    torch.set_num_threads(1)
    tokenizer = Tokenizer(arguments.folder)
    engine = Engine(load_model(arguments.folder, "cpu"))
    pairs = [PromptPair(tokenizer.prompt(arguments.clean), tokenizer.prompt(arguments.corrupted))]
    metric = LogitDifference(*(single_token(tokenizer, text) for text in (arguments.answer, arguments.foil)))
    print("| method | " + " | ".join(kinds) + " |\n| --- |" + " --- |" * len(kinds))
    for name, method in METHODS.items():
        times = []
        for site in kinds.values():
            sites = [(layer, site) for layer in range(engine.n_layers)]
            work = partial(method, engine.ordinary, pairs, metric, sites)
            times.append(f"{seconds(work):.2f}" if concerns(name, site) else "")
        print(f"| {name} | " + " | ".join(times) + " |", flush=True)
    exact = [
        "" if site == "post" else f"{seconds(partial(patch_heads, engine, pairs, metric, [site])):.2f}"
        for site in kinds.values()
    ]
    print("| exact | " + " | ".join(exact) + " |")


if __name__ == "__main__":
    main()
