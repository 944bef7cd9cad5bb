"""What the model predicts after each prompt (notebook, cells 6 and 7)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge


@dataclass(frozen=True)
class Prediction:
    """The prediction at the last position of one prompt.

    The k most likely tokens with their logits and probabilities, each [k]; logit, probability and rank (0 = top) of
    answer and foil, each [2].
    """

    top_id: Tensor
    top_logit: Tensor
    top_probability: Tensor
    logit: Tensor
    probability: Tensor
    rank: Tensor

    @property
    def logit_difference(self) -> float:
        """logit(answer) - logit(foil)."""
        return float(self.logit[0] - self.logit[1])


@torch.inference_mode()
def last_logits(model: TransformerBridge, ids: Sequence[int]) -> Tensor:
    """Return the logits at the last position of a prompt, [d_vocab], float32, on the CPU."""
    return model(torch.tensor([ids], device=model.cfg.device))[0, -1].float().cpu()


def predict(model: TransformerBridge, ids: Sequence[int], answer: int, foil: int, top_k: int) -> Prediction:
    """Return what a model predicts after a prompt.

    Parameters
    ----------
    model
        A bridge; logits are as its weights are processed (with centred unembedding they sum to zero).
    ids
        The prompt's token ids with BOS.
    answer, foil
        The two tokens that are compared.
    top_k
        How many of the most likely tokens to list.
    """
    logits = last_logits(model, ids)
    probabilities = logits.softmax(-1)
    top = logits.topk(min(top_k, len(logits)))
    asked = torch.tensor([answer, foil])
    rank = (logits[None, :] > logits[asked][:, None]).sum(-1)
    return Prediction(top.indices, top.values, probabilities[top.indices], logits[asked], probabilities[asked], rank)
