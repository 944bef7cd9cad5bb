"""A model that reads rows of a corpus with and without its studied neurons.

Each neuron is switched off, held at its mean, or negated, at every token; what is read is the next-token loss, the
probability of the association's token, and the logit difference of answer and foil. An unablated forward notes what
enters the studied layers. From there on the blocks run again for each neuron and intervention, with the neuron's column
of `hook_post` replaced; what lies below is not computed again. Where an architecture does not allow that, the whole
model runs again each time.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from itertools import chain, product

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.corpus.ablations import INTERVENTIONS
from an_neuron.corpus.associations import Association, studied_tokens
from an_neuron.corpus.losses import read_losses
from an_neuron.corpus.reader import check_associations, matmul_precision
from an_neuron.corpus.readout import Readout
from an_neuron.errors import UserError, is_out_of_memory
from an_neuron.model.decoder import Decoder
from an_neuron.model.hooks import Call, Hook, first, hand_on_more, hooked, noting_calls, rows_apart
from an_neuron.model.plain import tolerance

log = logging.getLogger(__name__)
ABOVE, WHOLE = "above", "whole"
"""The two ways: only the blocks from the neuron's on run again, or the whole model does."""
UNFIT = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, UserError, ValueError)
"""What a block may raise that cannot run by itself."""
Neuron = tuple[int, int]
"""Layer and index."""


class Ablator:
    """A model made ready to read a corpus with and without some neurons, in float32.

    Parameters
    ----------
    bridge
        A raw bridge.
    associations
        The studied tokens and neurons; the first one's token is the answer.
    foil
        Id of the token that the answer is compared with.
    means
        The mean activation of each association's neuron, which takes the activation's place with the intervention
        `mean`.

    Attributes
    ----------
    way
        `above`, or after `choose_way` maybe `whole`.

    Raises
    ------
    UserError
        If the architecture is not known, or a token, layer or neuron is not one of the model's.
    """

    def __init__(
        self,
        bridge: TransformerBridge,
        associations: Sequence[Association],
        foil: int,
        means: Sequence[float],
    ) -> None:
        check_associations(bridge, associations, foil)
        self._decoder = Decoder(bridge, "sdpa")
        self._readout = Readout.unembedding(self._decoder)
        self.associations, self.foil = list(associations), foil
        self.device, self.d_vocab = self._decoder.device, self._decoder.d_vocab
        neurons = [(one.layer, one.index) for one in associations]
        self._means = dict(zip(neurons, means, strict=True))
        for layer, _ in neurons:
            self._decoder.module(layer, "post")  # refused where there are no neurons of one MLP
        self._tokens = list(dict.fromkeys([*chain(*studied_tokens(associations)), foil]))
        self.way = ABOVE

    @torch.inference_mode()
    def read(self, ids: Tensor) -> tuple[Tensor, ...]:
        """Run rows of token ids, [row, pos], with and without each association's neuron.

        Returns
        -------
        tuple of Tensor
            The loss in nats, the probability of the association's token (of any of its group), and logit(answer) -
            logit(foil), each [association, run, row, pos] of all positions but a row's last; the first run is the
            unablated one, the others are the interventions.
        """
        with matmul_precision("highest"):
            residuals = self._residuals_above(ids) if self.way == ABOVE else self._residuals_whole(ids)
            runs = [self._read_out(residual, ids) for residual in residuals]
        loss, probability, difference = (self._by_association(parts) for parts in zip(*runs, strict=True))
        own = [[self._tokens.index(token) for token in one.token_ids] for one in self.associations]
        of_token = [each[:, places].sum(1) for each, places in zip(probability, own, strict=True)]
        return loss, torch.stack(of_token), difference

    @torch.inference_mode()
    def plain_losses(self, ids: Tensor) -> Tensor:
        """Return the loss as ordinary forwards of the whole model give it, [association, run, row, pos]; see `read`."""
        with matmul_precision("highest"):
            runs = [self._plain_loss(ids)]
            for neuron, name in self._ablations():
                with self._ablated(neuron, name, ids):
                    runs.append(self._plain_loss(ids))
        return self._by_association(runs)

    def choose_way(self, ids: Tensor, expected: Tensor) -> None:
        """Take the way `whole`, and say so, where running the blocks above the neuron alone is not exact.

        Parameters
        ----------
        ids
            Rows on which that is tried, [row, pos].
        expected
            Their `plain_losses`.
        """
        try:
            self.check(self.read(ids)[0], expected)
        except UNFIT as error:
            if is_out_of_memory(error):
                raise
            self.way, name = WHOLE, type(self._decoder.model).__name__
            log.warning("%s runs as a whole for each neuron that is switched off, which is slower: %s", name, error)

    def check(self, found: Tensor, expected: Tensor) -> float:
        """Return how far losses differ from those of plain forwards.

        Raises
        ------
        UserError
            If it is by more than rounding.
        """
        worst = float((found - expected).abs().max())
        allowed = tolerance(self._decoder.dtype) * max(1.0, float(expected.abs().max()))
        if not worst <= allowed:
            raise UserError(
                f"In row 0 of the corpus losses differ by up to {worst:.1e} nats from those of plain forwards of this "
                f"model ({type(self._decoder.model).__name__}), and rounding makes at most {allowed:.1e}."
            )
        return worst

    def _ablations(self) -> Iterator[tuple[Neuron, str]]:
        """Yield each different neuron with each intervention."""
        return product(self._means, INTERVENTIONS)

    def _by_association(self, runs: Sequence[Tensor]) -> Tensor:
        """Stack what was read unablated and then in the order of `_ablations`, as [association, run, ...]."""
        unablated, *ablated = runs
        found = dict(zip(self._ablations(), ablated, strict=True))
        neurons = [(one.layer, one.index) for one in self.associations]
        return torch.stack(
            [torch.stack([unablated, *(found[neuron, name] for name in INTERVENTIONS)]) for neuron in neurons]
        )

    def _residuals_above(self, ids: Tensor) -> Iterator[Tensor]:
        """Yield the final residuals, [row, pos, d_model], unablated and then in the order of `_ablations`.

        The blocks from the neuron's on run again, on what entered it in the unablated forward.
        """
        calls: list[Call] = []
        entering: dict[int, Tensor] = {}
        blocks = self._decoder.blocks
        layers = {layer for layer, _ in self._means}
        noting: list[Hook] = [(blocks[layer], "in", partial(_note, entering, layer)) for layer in layers]
        with hooked(noting), noting_calls(blocks, calls):
            residual = self._forward(ids)
        if hand_on_more(calls):
            raise UserError("its blocks hand on more than the residual stream.")
        yield residual
        for (layer, index), name in self._ablations():
            residual = entering[layer]
            with self._ablated((layer, index), name, ids):
                for block, (positional, named) in zip(blocks[layer:], calls[layer:], strict=True):
                    residual = first(block(residual, *positional, **named))
            yield residual

    def _residuals_whole(self, ids: Tensor) -> Iterator[Tensor]:
        """Yield the same by running the whole model each time."""
        yield self._forward(ids)
        for neuron, name in self._ablations():
            with self._ablated(neuron, name, ids):
                residual = self._forward(ids)
            yield residual

    def _forward(self, ids: Tensor) -> Tensor:
        """Run the model; return what enters its final norm, [row, pos, d_model]."""
        residuals: list[Tensor] = []
        with hooked([(self._decoder.norm, "in", residuals.append)]):
            self._decoder.model.base_model(input_ids=ids, use_cache=False)
        return residuals[0]

    def _ablated(self, neuron: Neuron, name: str, ids: Tensor) -> AbstractContextManager[None]:
        """Let a neuron be ablated as long as a context lasts."""
        (layer, index), mean = neuron, self._means[neuron]

        def replace(activation: Tensor) -> Tensor:
            changed = activation.clone()
            changed[..., index] = replaced(name, activation[..., index], mean)
            return changed

        return hooked([(self._decoder.module(layer, "post"), "in", rows_apart(replace, len(ids)))])

    def _read_out(self, residual: Tensor, ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss [row, pos], probability of each token [token, row, pos], and logit difference [row, pos]."""
        blocks = self._readout.blocks(residual[:, :-1].flatten(0, 1), self.d_vocab)
        loss, log_p, logits = read_losses(blocks, ids[:, 1:].flatten(), self._tokens)
        answer, foil = (self._tokens.index(token) for token in (self.associations[0].token_id, self.foil))
        sizes = len(ids), -1
        return (
            loss.unflatten(0, sizes),
            log_p.exp().unflatten(1, sizes),
            (logits[answer] - logits[foil]).unflatten(0, sizes),
        )

    def _plain_loss(self, ids: Tensor) -> Tensor:
        """Return the loss of the model's own logits, [row, pos]."""
        logits = self._decoder.model(input_ids=ids, use_cache=False).logits[:, :-1].float()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
        return loss.unflatten(0, (len(ids), -1))


def replaced(name: str, activation: Tensor, mean: float) -> Tensor:
    """Return what an intervention puts in the place of a neuron's activation."""
    match name:
        case "zero":
            return torch.zeros_like(activation)
        case "mean":
            return torch.full_like(activation, mean)
        case "negated":
            return -activation
    raise ValueError(f"{name!r} is none of {INTERVENTIONS}")


def _note(entering: dict[int, Tensor], layer: int, activation: Tensor) -> None:
    entering[layer] = activation.clone()  # a block may go on to change it in place
