"""How cost grows with model and corpus: jobs, hours and bytes, from counted operations and a rate.

    python benchmarks/cost.py [--rate 10000] [--hours 8]

The rate is that of a device's matrix products, in GFLOP/s; this CPU's is measured if none is given. Of it the sweep of
neurons reached 0.94 and the corpus pass 0.86 on a CPU, both in GPT-2 Large's shape (README.md); that is assumed of all.
Loading the model is not counted.
"""

import argparse
from math import ceil

from an_neuron.corpus.rows import row_length
from an_neuron.corpus.summaries import Summary
from an_neuron.model.folder import Shape
from an_neuron.patching.screened import most_exceeding
from an_neuron.study.cpu import matmul_rate
from an_neuron.study.operations import (
    gradient_operations,
    hours,
    kept_bytes,
    neuron_operations,
    screened_operations,
    token_operations,
)

SHAPES = {
    "GPT-2 Large": Shape(n_layers=36, d_model=1280, d_mlp=5120, n_ctx=1024, d_vocab=50257),
    "Pythia 1.4B": Shape(n_layers=24, d_model=2048, d_mlp=8192, n_ctx=2048, d_vocab=50304),
    "Llama 7B": Shape(n_layers=32, d_model=4096, d_mlp=11008, n_ctx=4096, d_vocab=32000, gated=True),
}
CORPORA = {"a book, 1,029,120": 1_029_120, "100 million": 10**8, "a billion": 10**9}
PATCHING_SHARE, CORPUS_SHARE = 0.94, 0.86
TOKENIZING = 300_000
"""Tokens a second that a job reads, tokenizes and writes on one core (tokenizing.py), rather too few."""
SUFFIX, LENGTH = 4, 20  # the published study's prompts
SCREEN, DRAWN = 2000, (1000, 3000, 10_000)


def sweep_row(name: str, shape: Shape, rate: float) -> list[str]:
    """Return what patching every neuron of a model for one prompt pair takes, a job a layer."""
    layers = [neuron_operations(shape, SUFFIX, LENGTH, layer) for layer in range(shape.n_layers)]
    n_neurons = shape.n_layers * shape.d_mlp
    whole, longest = (hours(operations, rate, PATCHING_SHARE) for operations in (sum(layers), layers[0]))
    return [
        name,
        f"{n_neurons:,}",
        f"{shape.n_layers}",
        f"{sum(layers) / 1e12:,.0f}",
        number(whole),
        number(longest * 60),
        size(4 * n_neurons),
    ]


def corpus_row(name: str, shape: Shape, corpus: str, rate: float, longest: float) -> list[str]:
    """Return what a corpus takes, in shards whose pass is at most so many hours, and what is kept of an association."""
    n_tokens = CORPORA[corpus]
    operations = n_tokens * token_operations(shape, row_length(None, shape))
    whole = hours(operations, rate, CORPUS_SHARE)
    summary = Summary(shape.d_vocab)
    return [
        name,
        corpus,
        f"{ceil(whole / longest):,}",
        f"{operations / 1e12:,.0f}",
        number(whole),
        number(n_tokens / ceil(whole / longest) / TOKENIZING / 60),
        size(kept_bytes(n_tokens)),
        size(kept_bytes(n_tokens, "float16")),
        size(summary.count.nbytes + summary.prediction_count.nbytes),
    ]


def screening_row(name: str, shape: Shape, drawn: int, rate: float) -> list[str]:
    """Return what screening takes for a prompt pair: the first ones by attribution, and so many drawn of the others.

    Those patched are taken to lie evenly over the layers.
    """
    layers, n_neurons = list(range(shape.n_layers)), shape.n_layers * shape.d_mlp
    screened = screened_operations(shape, SUFFIX, LENGTH, layers, SCREEN + drawn)
    operations = gradient_operations(shape, LENGTH) + screened
    whole = screened_operations(shape, SUFFIX, LENGTH, layers, n_neurons)
    return [
        name,
        f"{SCREEN:,}",
        f"{drawn:,}",
        f"{operations / 1e12:,.0f}",
        number(hours(operations, rate, PATCHING_SHARE) * 3600),
        number(hours(whole, rate, PATCHING_SHARE) * 3600),
        f"{most_exceeding(0, drawn, n_neurons - SCREEN):,}",
    ]


def number(value: float) -> str:
    """Return a number with two digits, or all before the point."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def size(n_bytes: int) -> str:
    """Return a number of bytes with a unit."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes} bytes"


def show(head: list[str], rows: list[list[str]]) -> None:
    """Print a Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, help="GFLOP/s of matrix products; measured if not given")
    parser.add_argument("--hours", type=float, default=8, help="longest job of the corpus pass")
    arguments = parser.parse_args()
    rate = arguments.rate * 1e9 if arguments.rate else matmul_rate()
    print(f"At {rate / 1e9:,.0f} GFLOP/s in matrix products {'(given)' if arguments.rate else '(measured)'}.\n")
    head = ["model", "neurons", "jobs", "TFLOP", "hours", "longest job, minutes", "bytes of recoveries"]
    show(head, [sweep_row(name, shape, rate) for name, shape in SHAPES.items()])
    head = [
        "model",
        "screened",
        "drawn",
        "TFLOP",
        "seconds",
        "seconds of all",
        "at most, where none of those drawn exceeds",
    ]
    show(head, [screening_row(*model, drawn, rate) for model in SHAPES.items() for drawn in DRAWN])
    head = [
        "model",
        "tokens",
        f"jobs of at most {arguments.hours:g} h",
        "TFLOP",
        "hours",
        "tokenizing a shard, minutes",
    ]
    head += ["an association, `keep: all`", "`dtype: float16`", "`keep: summary`"]
    rows = [corpus_row(*model, corpus, rate, arguments.hours) for model in SHAPES.items() for corpus in CORPORA]
    show(head, rows)


if __name__ == "__main__":
    main()
