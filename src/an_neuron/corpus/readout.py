"""How a final residual stream becomes logits: as the model does it, or as the notebook did (cell 60)."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

from torch import Tensor

from an_neuron.model.decoder import Decoder
from an_neuron.model.products import linear

BLOCK = 1024
"""Tokens of the vocabulary whose logits exist at once: with those of a batch 8 MB, which a CPU's cache may hold."""


@dataclass(frozen=True)
class Readout:
    """A norm, and what turns its output into logits; both keep their weights when the decoder's change precision.

    Attributes
    ----------
    normalize
        From final residuals [position, d_model] to what is read.
    unembed
        From that to the logits of a slice of the vocabulary, [position, token].
    """

    normalize: Callable[[Tensor], Tensor]
    unembed: Callable[[Tensor, slice], Tensor]

    @classmethod
    def unembedding(cls, decoder: Decoder) -> "Readout":
        """Return the model's own: the final norm, then W_U."""
        return cls(deepcopy(decoder.norm), decoder.unembedded)

    @classmethod
    def embedding(cls, decoder: Decoder, centred: bool) -> "Readout":
        """Return the notebook's: the final norm without its weight and bias, then W_E.

        Parameters
        ----------
        decoder
            The model.
        centred
            Whether the final norm subtracts the mean (LayerNorm), or not (RMSNorm).
        """
        embedding = decoder.model.get_input_embeddings().weight.detach()
        if not [*decoder.norm.parameters()]:  # OLMo's
            norm = deepcopy(decoder.norm)
            return cls(norm, lambda normalized, tokens: linear(normalized, embedding[tokens]))
        epsilon = float(decoder.norm.eps if hasattr(decoder.norm, "eps") else decoder.norm.variance_epsilon)

        def normalize(residual: Tensor) -> Tensor:
            residual = residual - residual.mean(-1, keepdim=True) if centred else residual
            return residual / (residual.square().mean(-1, keepdim=True) + epsilon).sqrt()

        return cls(normalize, lambda normalized, tokens: linear(normalized, embedding[tokens]))

    def blocks(self, residual: Tensor, d_vocab: int) -> Iterator[tuple[int, Tensor]]:
        """Yield the first token id of each block of the vocabulary, and its logits, [position, block]."""
        normalized = self.normalize(residual)
        for start in range(0, d_vocab, BLOCK):
            yield start, self.unembed(normalized, slice(start, start + BLOCK))
