"""One pass of a model over a corpus, for any number of tokens and neurons at once (notebook, cell 60).

Rows run in batches through the plain Hugging Face model, with torch's own attention. A hook on each studied layer takes
its neurons' activations. Logits are formed for a block of the vocabulary at a time, looked at and dropped.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.corpus.associations import Association, studied_tokens
from an_neuron.corpus.batches import rows_per_batch
from an_neuron.corpus.recordings import Recorded
from an_neuron.errors import UserError
from an_neuron.model.decoder import Decoder
from an_neuron.model.hooks import Hook, hooked

READOUTS = ("unembedding", "embedding")
PRECISIONS = ("highest", "high", "bfloat16")
BLOCK = 4096
"""Tokens of the vocabulary whose logits exist at once; the matrix product is faster than with all, too."""

log = logging.getLogger(__name__)


class Reader:
    """A model made ready to read a corpus.

    Parameters
    ----------
    bridge
        A raw bridge.
    associations
        The studied tokens and neurons.
    readout
        `unembedding` reads the model's own logits. `embedding` reads the normalised final residual against W_E, which
        leaves out the final norm's weight and bias, as the notebook did.
    precision
        `highest` is float32; `high` lets matrix products round their factors to TF32 where the device can; `bfloat16`
        runs the blocks in bfloat16 and forms the logits as `high` does.

    Raises
    ------
    UserError
        If the architecture is not known, or a token, layer or neuron is not one of the model's.
    """

    def __init__(
        self, bridge: TransformerBridge, associations: Sequence[Association], readout: str, precision: str = "highest"
    ) -> None:
        if readout not in READOUTS or precision not in PRECISIONS:
            raise UserError(f"Readout is one of {READOUTS}, precision one of {PRECISIONS}; not {readout}, {precision}.")
        _check_associations(bridge, associations)
        engine = Decoder(bridge, "sdpa")
        self.associations, self.precision, self.device = list(associations), precision, engine.device
        self.d_vocab = bridge.cfg.d_vocab
        self._tokens = studied_tokens(associations)
        self._decoder, self._norm = engine.model.base_model, engine.norm
        self._first, (down, _) = engine.blocks[0], engine.where["post"]
        self._down = {
            association.layer: engine.blocks[association.layer].get_submodule(down) for association in associations
        }
        if precision == "bfloat16":
            # The readout keeps its float32 weights: bfloat16 knows a logit of 20 only to the nearest eighth.
            engine.norm = deepcopy(engine.norm)
        self._normalize: Callable[[Tensor], Tensor] = engine.norm
        self._unembed: Callable[[Tensor, slice], Tensor] = engine.unembedded
        if readout == "embedding":
            embedding = engine.model.get_input_embeddings().weight.detach()
            self._normalize = _without_weights(bridge, engine)
            self._unembed = lambda normalized, tokens: normalized @ embedding[tokens].T
        if precision == "bfloat16":
            self._decoder.bfloat16()

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on the CPU."""
        return self.device.type == "cpu"

    @torch.inference_mode()
    def read(self, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run some rows of token ids, [row, pos]; return the parts of `Recorded`, on the model's device."""
        found: dict[int, Tensor] = {}
        residuals: list[Tensor] = []
        hooks: list[Hook] = [(self._norm, "in", residuals.append)]
        for layer, module in self._down.items():
            hooks.append((module, "in", self._taking(layer, found)))
        with _matmul_precision("highest" if self.precision == "highest" else "high"), hooked(hooks):
            self._decoder(input_ids=ids, use_cache=False)
            margin, top = self._margins(residuals[0].float())
        taken = {layer: iter(some.unbind(-1)) for layer, some in found.items()}
        activation = torch.stack([next(taken[association.layer]) for association in self.associations])
        return activation.float(), margin.unflatten(1, ids.shape), top.view(ids.shape)

    def _taking(self, layer: int, found: dict[int, Tensor]) -> Callable[[Tensor], None]:
        """Return a hook that takes the activations of a layer's studied neurons, in the order of their associations."""
        indices = torch.tensor(
            [association.index for association in self.associations if association.layer == layer], device=self.device
        )

        def take(activation: Tensor) -> None:
            found[layer] = activation[..., indices]

        return take

    def _margins(self, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Return margins [token, row·pos] and top predictions [row·pos] of final residuals [row, pos, d_model]."""
        normalized = self._normalize(residual.flatten(0, 1))
        starts = range(0, self.d_vocab, BLOCK)
        blocks = ((start, self._unembed(normalized, slice(start, start + BLOCK))) for start in starts)
        return margins_and_top(blocks, self._tokens)


def margins_and_top(blocks: Iterable[tuple[int, Tensor]], tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return each token's margin over the largest other logit and the id of the largest logit, the first of equal ones.

    Parameters
    ----------
    blocks
        The first token id of each block of the vocabulary and the block's logits, [position, block]; they are
        overwritten.
    tokens
        Token ids.

    Returns
    -------
    tuple of Tensor
        Margins [token, position] and ids [position]; NaN where any logit is.
    """
    own: dict[int, Tensor] = {}
    largest = second = top = torch.empty(0)
    for start, logits in blocks:
        own |= {token: logits[:, token - start].clone() for token in tokens if 0 <= token - start < logits.shape[1]}
        value, index = logits.max(-1)
        runner = logits.scatter_(-1, index[:, None], -torch.inf).amax(-1)
        if not start:
            largest, second, top = value, runner, index
            continue
        better = ~(value <= largest)
        second = torch.maximum(torch.where(better, largest, value), torch.where(better, runner, second))
        top = torch.where(better, index + start, top)
        largest = torch.maximum(largest, value)
    return torch.stack([own[token] - torch.where(top == token, second, largest) for token in tokens]), top


def record(
    reader: Reader, rows: Any, first: int = 0, upto: int | None = None, size: int | None = None
) -> Iterator[Recorded]:
    """Read rows of a corpus.

    Batches are the same whichever rows are asked for, since a row's last digits depend on the others in its batch: of
    the first and the last batch, what was not asked for is thrown away.

    Parameters
    ----------
    reader
        The model.
    rows
        Token ids, [row, pos]: an array or an open HDF5 dataset, of which only a batch is read at a time.
    first, upto
        Which rows; all if not given.
    size
        How many rows run at once; what suits the device if not given.

    Yields
    ------
    Recorded
        Of the next rows, in order.

    Raises
    ------
    UserError
        If a token id is not in the vocabulary, an activation or margin is not finite (the message says where), or not
        even a row fits the device.
    """
    upto, n_ctx = len(rows) if upto is None else upto, rows.shape[1]
    size = size or rows_per_batch(n_ctx, reader.on_cpu)
    start, waiting = first, None
    with tqdm(total=(upto - first) * n_ctx, desc="corpus", unit="token", unit_scale=True, mininterval=2) as progress:
        while start < upto or waiting:
            launched = None
            if start < upto:
                try:
                    launched = _Batch(reader, rows, start - start % size, size, slice(start, upto))
                except torch.OutOfMemoryError:
                    size = _halved(size)
                    continue
                start = launched.upto
            # One batch is fetched while the device works on the next.
            if waiting:
                recorded = waiting.fetch()
                yield recorded
                progress.update(recorded.top_prediction.size)
            waiting = launched


class _Batch:
    """A batch on its way through the device; of its rows those in `wanted` are fetched."""

    def __init__(self, reader: Reader, rows: Any, start: int, size: int, wanted: slice) -> None:
        ids = _checked_ids(reader, rows[start : start + size], start)
        self.first, self.upto = wanted.start, min(start + size, wanted.stop)
        self._reader, self._kept = reader, slice(self.first - start, self.upto - start)
        self._arrived: torch.cuda.Event | None = None
        given = torch.from_numpy(ids.astype(np.int64))
        if reader.device.type == "cuda":
            given = given.pin_memory()
        there = reader.read(given.to(reader.device, non_blocking=True))
        self._parts = [part.to("cpu", non_blocking=True) for part in there]  # pinned where that helps
        if reader.device.type == "cuda":
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(reader.device))
        elif reader.device.type == "mps":
            torch.mps.synchronize()

    def fetch(self) -> Recorded:
        """Return the wanted rows, once they are there; stop where they are not finite numbers."""
        if self._arrived is not None:
            self._arrived.synchronize()
        recorded = Recorded(*(part[..., self._kept, :].numpy() for part in self._parts))
        _check_finite(self._reader, recorded, self.first)
        return recorded


def _halved(size: int) -> int:
    if size == 1:
        raise UserError(
            "Not even one row of the corpus fits the device's memory; write a smaller n_ctx in config.yaml."
        )
    log.warning("The device ran out of memory; going on with %d rows at a time.", size // 2)
    torch.cuda.empty_cache()
    return size // 2


def _check_associations(bridge: TransformerBridge, associations: Sequence[Association]) -> None:
    cfg = bridge.cfg
    for association in associations:
        if not 0 <= association.token_id < cfg.d_vocab:
            raise UserError(f"Token {association.token_id} is beyond the model's vocabulary of {cfg.d_vocab} tokens.")
        if not (0 <= association.layer < cfg.n_layers and 0 <= association.index < cfg.d_mlp):
            raise UserError(
                f"There is no neuron {association.index} of layer {association.layer}; the model has {cfg.n_layers} layers of "
                f"{cfg.d_mlp} neurons."
            )


def _checked_ids(reader: Reader, ids: np.ndarray, start: int) -> np.ndarray:
    """Refuse ids that the embedding does not have, which a GPU would answer with a crash."""
    if wrong := np.argwhere((ids < 0) | (ids >= reader.d_vocab)).tolist():
        row, pos = wrong[0]
        raise UserError(
            f"Row {start + row} of the corpus has token {ids[row, pos]} at position {pos}, beyond the model's "
            f"vocabulary of {reader.d_vocab}; its tokenizer.json belongs to another model."
        )
    return ids


def _check_finite(reader: Reader, recorded: Recorded, start: int) -> None:
    """Stop at the first activation or margin that is not a finite number."""
    for name, values in (("activation", recorded.activation), ("margin", recorded.margin)):
        if np.isfinite(values).all():
            continue
        number, row, pos = np.argwhere(~np.isfinite(values))[0].tolist()
        association = reader.associations[number]
        what = f"of neuron {association.index} of layer {association.layer}" if name == "activation" else "of a token"
        raise UserError(
            f"The {name} {what} is {float(values[number, row, pos])} in row {start + row} of the corpus at position "
            f"{pos}; the weights may be damaged, or too large for precision {reader.precision!r}."
        )


def _without_weights(bridge: TransformerBridge, engine: Decoder) -> Callable[[Tensor], Tensor]:
    """Return the final norm without its weight and bias."""
    epsilon = float(engine.norm.eps if hasattr(engine.norm, "eps") else engine.norm.variance_epsilon)
    centred = not bridge.ln_final.uses_rms_norm

    def normalize(residual: Tensor) -> Tensor:
        residual = residual - residual.mean(-1, keepdim=True) if centred else residual
        return residual / (residual.square().mean(-1, keepdim=True) + epsilon).sqrt()

    return normalize


@contextmanager
def _matmul_precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
