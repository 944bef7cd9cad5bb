"""How many operations a study's matrix products take, and what it keeps: the one model of cost, by a model's sizes."""

from collections.abc import Iterable

from an_neuron.model.folder import Shape


def row_operations(shape: Shape, suffix: int, length: int, first: int) -> int:
    """Return the operations of one patched row that enters block `first` and goes to the end.

    Parameters
    ----------
    shape
        The model's sizes.
    suffix, length
        Positions from the first one at which the prompts differ, and all of them.
    first
        The block, counted from 0; none is left to run where it is the number of layers.
    """
    if first == shape.n_layers:
        return 0
    keys = 2 * suffix * 2 * shape.d_model**2  # keys and values are needed of the whole suffix in every block
    each = 2 * (2 * shape.d_model**2 + shape.mlp_parameters) + 4 * length * shape.d_model
    whole = shape.n_layers - first - 1
    return whole * (keys + suffix * each) + keys + each  # of the last block only the last position


def neuron_operations(shape: Shape, suffix: int, length: int, layer: int) -> int:
    """Return the operations of a prompt pair's sweep of a layer's neurons; see `row_operations`."""
    return shape.d_mlp * row_operations(shape, suffix, length, layer + 1)


def screened_operations(shape: Shape, suffix: int, length: int, layers: list[int], number: int) -> int:
    """Return the operations of some of the layers' neurons, a prompt pair, evenly over them; see `row_operations`."""
    of_all = sum(neuron_operations(shape, suffix, length, layer) for layer in layers)
    return of_all * number // (len(layers) * shape.d_mlp)


def gradient_operations(shape: Shape, length: int) -> int:
    """Return the operations of attribution for a prompt pair: two forwards and a backward pass, which takes two."""
    return 4 * length * token_operations(shape, length)


def site_operations(shape: Shape, suffix: int, length: int) -> int:
    """Return the operations of a prompt pair's sweep of one site by layer and position; see `row_operations`."""
    return suffix * sum(row_operations(shape, suffix, length, layer) for layer in range(shape.n_layers))


def head_operations(shape: Shape, suffix: int, length: int) -> int:
    """Return the operations of a prompt pair's sweep of one site of all heads; see `row_operations`."""
    heads = -(-shape.d_model // 64)  # most models' heads are at least 64 wide
    return heads * sum(row_operations(shape, suffix, length, layer) for layer in range(shape.n_layers))


def patching_operations(
    shape: Shape, positions: Iterable[tuple[int, int]], layers: list[int], screened: int | None = None
) -> int:
    """Return the operations of the sweeps of three sites and of some layers' neurons.

    Parameters
    ----------
    shape
        The model's sizes.
    positions
        For each prompt pair the positions from its first difference on, and all.
    layers
        Layers whose neurons are swept.
    screened
        How many of their neurons are patched; all if None.
    """
    number = len(layers) * shape.d_mlp if screened is None else screened
    return sum(
        3 * site_operations(shape, suffix, length)
        + (screened_operations(shape, suffix, length, layers, number) if layers else 0)
        for suffix, length in positions
    )


def token_operations(shape: Shape, n_ctx: int) -> int:
    """Return the operations of a token of a corpus in rows of n_ctx, attention seen backwards only."""
    block = 2 * (4 * shape.d_model**2 + shape.mlp_parameters) + 2 * n_ctx * shape.d_model
    return shape.n_layers * block + 2 * shape.d_model * shape.d_vocab


def hours(operations: float, rate: float, share: float) -> float:
    """Return the hours of some operations on a device that makes `rate` per second, of which a share is reached."""
    return operations / (rate * share) / 3600


def kept_bytes(n_tokens: int, dtype: str = "float32") -> int:
    """Return the bytes that a corpus pass with `keep: all` keeps per association: an activation and a margin a token.

    The top prediction, 4 bytes per token before compression, is shared by all associations.
    """
    return n_tokens * 2 * {"float32": 4, "float16": 2}[dtype]
