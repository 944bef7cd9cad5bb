"""A model that reads rows of a corpus, for any number of tokens and neurons at once (notebook, cell 60).

Rows run in batches through the plain Hugging Face model, with torch's own attention. A hook on each studied layer takes
its neurons' activations. Logits are formed for a block of the vocabulary at a time, looked at and dropped.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.corpus.associations import Association, studied_tokens
from an_neuron.corpus.margins import read_logits
from an_neuron.corpus.readout import Readout
from an_neuron.errors import UserError
from an_neuron.model.decoder import Decoder
from an_neuron.model.hooks import Hook, hooked, rows_apart
from an_neuron.model.products import PRECISIONS

READOUTS = ("unembedding", "embedding")


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
    foil
        Id of the token that the first association's, the answer, is compared with, if any.
    precision
        `highest` is float32; `high` lets matrix products round their factors to TF32 where the device can; `bfloat16`
        runs the blocks in bfloat16 and forms the logits as `high` does.

    Attributes
    ----------
    decoder
        The model taken apart.
    signed
        Whether negative activations write as positive ones do, as in gated MLPs.

    Raises
    ------
    UserError
        If the architecture is not known, or a token, layer or neuron is not one of the model's.
    """

    def __init__(
        self,
        bridge: TransformerBridge,
        associations: Sequence[Association],
        readout: str,
        precision: str = "highest",
        foil: int | None = None,
    ) -> None:
        if readout not in READOUTS or precision not in PRECISIONS:
            raise UserError(f"Readout is one of {READOUTS}, precision one of {PRECISIONS}; not {readout}, {precision}.")
        check_associations(bridge, associations, foil)
        decoder = Decoder(bridge, "sdpa")
        self.associations, self.precision, self.device = list(associations), precision, decoder.device
        self.decoder = decoder
        self.d_vocab, self.signed = decoder.d_vocab, decoder.gated
        self._tokens = studied_tokens(associations)
        self._choice = None if foil is None else (associations[0].token_id, foil)
        self._model, self._norm = decoder.model.base_model, decoder.norm
        self._down = {one.layer: decoder.module(one.layer, "post") for one in associations}
        if readout == "embedding":
            self._readout = Readout.embedding(decoder, centred=not bridge.ln_final.uses_rms_norm)
        else:
            self._readout = Readout.unembedding(decoder)
        if precision == "bfloat16":
            # The readout keeps its float32 weights: bfloat16 knows a logit of 20 only to the nearest eighth.
            self._model.bfloat16()

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on the CPU."""
        return self.device.type == "cpu"

    @torch.inference_mode()
    def read(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Run rows of token ids, [row, pos]; return the parts of `Recorded`, on the model's device."""
        by_layer: dict[int, Tensor] = {}
        residuals: list[Tensor] = []
        hooks: list[Hook] = [(self._norm, "in", residuals.append)]
        hooks += [
            (module, "in", rows_apart(self._taking(layer, by_layer), len(ids))) for layer, module in self._down.items()
        ]
        with matmul_precision("highest" if self.precision == "highest" else "high"), hooked(hooks):
            self._model(input_ids=ids, use_cache=False)
            blocks = self._readout.blocks(residuals[0].float().flatten(0, 1), self.d_vocab)
            margin, *others = read_logits(blocks, self._tokens, self._choice)
        neurons = {layer: iter(activation.unbind(-1)) for layer, activation in by_layer.items()}
        activation = torch.stack([next(neurons[association.layer]) for association in self.associations])
        return activation.float(), margin.unflatten(1, ids.shape), *(part.view(ids.shape) for part in others)

    def _taking(self, layer: int, by_layer: dict[int, Tensor]) -> Callable[[Tensor], None]:
        """Return a hook that takes the activations of a layer's studied neurons, in the order of their associations."""
        indices = torch.tensor([one.index for one in self.associations if one.layer == layer], device=self.device)

        def take(activation: Tensor) -> None:
            by_layer[layer] = activation[..., indices]

        return take


def check_associations(bridge: TransformerBridge, associations: Sequence[Association], foil: int | None) -> None:
    """Refuse tokens and neurons that a model does not have."""
    cfg = bridge.cfg
    for token in [*chain(*studied_tokens(associations)), *([] if foil is None else [foil])]:
        if not 0 <= token < cfg.d_vocab:
            raise UserError(f"Token {token} is beyond the model's vocabulary of {cfg.d_vocab} tokens.")
    for one in associations:
        if not (0 <= one.layer < cfg.n_layers and 0 <= one.index < cfg.d_mlp):
            raise UserError(
                f"There is no neuron {one.index} of layer {one.layer}; the model has {cfg.n_layers} layers of "
                f"{cfg.d_mlp} neurons."
            )


@contextmanager
def matmul_precision(name: str) -> Iterator[None]:
    """Let float32 matrix products be as exact as torch's name says, as long as a context lasts."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
