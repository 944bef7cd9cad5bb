"""One pass of a model over a corpus (notebook, cell 60)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError

TOKENS_A_BATCH = 2048
"""How many tokens run at once, so that their logits stay within half a gigabyte for GPT-2's vocabulary."""


@dataclass(frozen=True)
class Recorded:
    """What the model does at each token of some rows: each [row, pos].

    Attributes
    ----------
    activation
        The neuron's activation (`hook_post`).
    margin
        logit(token) - the largest other logit; positive = the token is the top prediction.
    top_prediction
        Id of the most likely next token.
    """

    activation: Tensor
    margin: Tensor
    top_prediction: Tensor


def record(
    model: TransformerBridge,
    rows: np.ndarray,
    layer: int,
    index: int,
    token: int,
    readout: str,
    tokens_a_batch: int = TOKENS_A_BATCH,
) -> Iterator[Recorded]:
    """Run a model over a corpus and record a neuron and a token.

    Parameters
    ----------
    model
        A raw bridge.
    rows
        Token ids, [row, pos].
    layer, index
        The neuron.
    token
        The token whose margin is recorded.
    readout
        `unembedding` reads the model's own logits. `embedding` reads the normalised final residual against W_E, which
        leaves out the final norm's weight and bias, as the notebook did.
    tokens_a_batch
        At most so many tokens run at once; at least one row does.

    Yields
    ------
    Recorded
        Of the next rows, in order, on the CPU.

    Raises
    ------
    UserError
        If an activation or a margin is not finite.
    """
    n_rows = max(1, tokens_a_batch // rows.shape[1])
    for start in tqdm(range(0, len(rows), n_rows), desc="corpus", unit_scale=n_rows * rows.shape[1], unit="token"):
        ids = torch.from_numpy(rows[start : start + n_rows].astype(np.int64)).to(model.cfg.device)
        recorded = _record_batch(model, ids, layer, index, token, readout)
        if not (recorded.activation.isfinite().all() and recorded.margin.isfinite().all()):
            raise UserError(
                f"An activation or margin in rows {start} to {start + len(ids) - 1} of the corpus is not a finite "
                "number; the weights may be damaged."
            )
        yield recorded


@torch.inference_mode()
def _record_batch(model: TransformerBridge, ids: Tensor, layer: int, index: int, token: int, readout: str) -> Recorded:
    neuron, normalized = f"blocks.{layer}.mlp.hook_post", "ln_final.hook_normalized"
    names = [neuron, normalized] if readout == "embedding" else [neuron]
    logits, cache = model.run_with_cache(ids, names_filter=names)
    activation = cache[neuron][..., index].float().cpu()
    if readout == "unembedding":
        return Recorded(activation, *(part.cpu() for part in margin_and_top(logits, token)))
    del logits
    # One row at a time, so that only one row's logits exist beside the model's own.
    parts = [margin_and_top(row @ model.W_E.T, token) for row in cache[normalized]]
    margin, top = (torch.stack(part).cpu() for part in zip(*parts, strict=True))
    return Recorded(activation, margin, top)


def margin_and_top(logits: Tensor, token: int) -> tuple[Tensor, Tensor]:
    """Return a token's margin over the largest other logit and the id of the largest; logits [..., d_vocab].

    The logits are overwritten at the token.
    """
    top = logits.argmax(-1)
    own = logits[..., token].clone()
    logits[..., token] = -torch.inf
    return (own - logits.amax(-1)).float(), top
