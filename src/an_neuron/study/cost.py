"""How much memory and time a job may need, so that a cluster finds a place for it.

Estimates with room to spare: a job that asks for too much waits a little longer, one that asked for too little is
ended, and sent again with more. The peaks that they are held against stand in benchmarks/README.md.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from an_neuron.corpus.rows import SAMPLE_TOKENS, row_length
from an_neuron.corpus.sources import PACKED
from an_neuron.model.folder import Shape
from an_neuron.study.operations import (
    gradient_operations,
    head_operations,
    neuron_operations,
    row_operations,
    site_operations,
    token_operations,
)
from an_neuron.study.study import Prompts

A_BOOK = 1_000_000
"""Tokens of a corpus that is not there yet."""
MODEL_COPIES = {"patching": 1.2, "corpus": 1.2, "processing": 3.5}
"""How often the weights lie in memory at the peak of a kind of work; those of a GPU are read into memory first."""
MODEL_MB = {"patching": 2000, "corpus": 3000, "processing": 2000}
"""What it takes besides, libraries included."""
RATE = {True: 3e10, False: 5e12}
"""Operations a second that a CPU (True) or an accelerator makes at least."""
NEURON_BYTES = 16_000
"""Of memory for the statistics of a neuron: its counts by bin, those of the next part, and their sums."""
BYTES_PER_TOKEN = 3
"""Of a text; English has about four."""
COMPRESSED, UNPACKED = (*PACKED, ".parquet"), 3
"""Files that are compressed, and how many bytes of text one of theirs holds at most, about."""
PART_MB = 1500
"""Megabytes of a job that reads documents batch by batch, however many."""
TEXT_BYTES = 600
"""Of memory for a token that is made of a text, at the peak."""
TABLE_BYTES = 100
"""Of memory for a token whose activation and margin are sorted and drawn, at the peak."""


def weight_bytes(shape: Shape) -> int:
    """Return the bytes of a model's weights in float32, with an embedding beside the unembedding."""
    return 4 * (shape.n_parameters + shape.d_model * shape.d_vocab)


def model_mb(kind: str, shape: Shape) -> int:
    """Return the megabytes of a job that loads a model.

    Parameters
    ----------
    kind
        `patching`, `corpus` or `processing`, which folds and centres the weights.
    shape
        The model's sizes.
    """
    return MODEL_MB[kind] + int(MODEL_COPIES[kind] * weight_bytes(shape) / 1e6)


def watched_mb(shape: Shape, neurons: str | list[int]) -> int:
    """Return the megabytes of a job that holds the statistics of every neuron of some layers, or adds up parts' ones.

    Parameters
    ----------
    neurons
        `all`, `none` or a list of layers.
    """
    n_layers = {"all": shape.n_layers, "none": 0}[neurons] if isinstance(neurons, str) else len(neurons)
    return 500 + n_layers * shape.d_mlp * NEURON_BYTES // 10**6


def model_minutes(shape: Shape, operations: float, on_cpu: bool) -> int:
    """Return the minutes of a job that loads a model, from a slow network at 100 MB/s, and makes some operations."""
    return 15 + int((weight_bytes(shape) / 1e8 + 2 * operations / RATE[on_cpu]) / 60)


def positions(prompts: Iterable[Prompts]) -> list[tuple[int, int]]:
    """Return each prompt pair's positions from its first difference on, and all; by characters, so rather too many."""
    return [_positions(pair.clean, pair.corrupted) for pair in prompts]


def _positions(clean: str, corrupted: str) -> tuple[int, int]:
    length = max(len(clean), len(corrupted))
    different = (at for at, (one, other) in enumerate(zip(clean, corrupted, strict=False)) if one != other)
    first = next(different, min(len(clean), len(corrupted)))
    return (length - first) // 2 + 2, length // 2 + 2


def sweep_operations(
    name: str, shape: Shape, prompts: Iterable[Prompts], layers: Iterable[int] = (), screened: int | None = None
) -> int:
    """Return the operations of a sweep of all prompt pairs.

    Parameters
    ----------
    name
        Of the rule: `patch_sites`, `patch_heads` (three sites each), `patch_neurons` or `screen_neurons`.
    shape
        The model's sizes.
    prompts
        Prompt pairs of a study.
    layers
        Whose neurons are patched.
    screened
        How many neurons a screen chose, at most all of which are of these layers; None where every neuron is patched.
    """
    layers = list(layers)
    sweep = {
        "patch_sites": lambda suffix, length: 3 * site_operations(shape, suffix, length),
        "patch_heads": lambda suffix, length: 3 * head_operations(shape, suffix, length),
        "patch_neurons": lambda suffix, length: _of_neurons(shape, suffix, length, layers, screened),
        "screen_neurons": lambda suffix, length: gradient_operations(shape, length),
    }[name]
    return sum(sweep(suffix, length) for suffix, length in positions(prompts))


def _of_neurons(shape: Shape, suffix: int, length: int, layers: Sequence[int], screened: int | None) -> int:
    """Return the operations of some layers' neurons; of those that a screen chose as if all were in the first layer."""
    whole = sum(neuron_operations(shape, suffix, length, layer) for layer in layers)
    if screened is None or not layers:
        return whole
    return min(whole, screened * row_operations(shape, suffix, length, min(layers) + 1))


def congruence_operations(shape: Shape) -> int:
    """Return the operations of every neuron's congruence with every token, computed once."""
    return 2 * shape.n_layers * shape.d_mlp * shape.d_model * shape.d_vocab


def corpus_operations(shape: Shape, n_ctx: int | None, n_tokens: int, shards: int) -> int:
    """Return the operations of one shard of a corpus pass, in rows of n_ctx tokens or as long as suits the model."""
    return -(-n_tokens // shards) * token_operations(shape, row_length(n_ctx, shape))


def sample_operations(shape: Shape, n_ctx: int | None) -> int:
    """Return the operations of a look at some rows of a corpus, at most: one row more than the sample."""
    return corpus_operations(shape, n_ctx, SAMPLE_TOKENS + row_length(n_ctx, shape), 1)


def ablation_operations(shape: Shape, n_ctx: int | None, n_tokens: int, n_neurons: int) -> int:
    """Return the operations of a pass with each of some neurons ablated in three ways, at most: all in layer 0."""
    return (1 + 3 * n_neurons) * corpus_operations(shape, n_ctx, n_tokens, 1)


def corpus_tokens(parts: Sequence[Path], *texts: Sequence[Path]) -> int:
    """Return about how many tokens a corpus has: by the files of its tokens, else by the first texts that are there.

    Parameters
    ----------
    parts
        The files of its tokens.
    texts
        Files of the same text, the better known before.
    """
    if parts and all(path.exists() for path in parts):
        return sum(path.stat().st_size for path in parts) // 4
    there = next((paths for paths in texts if paths and all(path.exists() for path in paths)), None)
    return A_BOOK if there is None else int(sum(map(_text_bytes, there)) // BYTES_PER_TOKEN)


def _text_bytes(path: Path) -> float:
    return path.stat().st_size * (UNPACKED if path.suffix in COMPRESSED else 1)


def text_mb(n_tokens: int) -> int:
    """Return the megabytes of a job that reads a whole text, or cuts it into tokens."""
    return 1000 + n_tokens * TEXT_BYTES // 10**6


def text_minutes(n_tokens: int) -> int:
    """Return the minutes of a job that reads a whole text, or cuts it into tokens."""
    return 10 + n_tokens // 10**6


def table_mb(beside: int, n_tokens: int) -> int:
    """Return the megabytes of a job that looks at some tokens' activations and margins at once."""
    return beside + n_tokens * TABLE_BYTES // 10**6
