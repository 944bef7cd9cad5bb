"""Activation patching by plain module hooks on a model of its own: the reference that shares no code with the library.

Only where a site is (a module's path, its input or output, a head's columns) comes from the library, as a `Place`; what
TransformerLens' hooks see there is a test of its own. The model is freshly made and never bridged. Each patch is one
ordinary forward of the whole prompt, without a cache.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from an_neuron.model.places import Place
from an_neuron.prompts.pairs import PromptPair

INPUT_OF_BLOCK = Place("", "in")  # resid_pre, for which the library has no place
EVERYWHERE = slice(None)
Where = tuple[Any, Any]
"""An index into [pos, column]."""


class IndependentLoop:
    """A prompt pair on a fresh model, with the two tokens between which the model changes its mind most.

    A model serves one prompt pair alone, since some rotary embeddings remember the longest prompt so far.
    """

    def __init__(self, model: PreTrainedModel, blocks: str, prompt_pair: PromptPair) -> None:
        self.model, self.blocks, self.prompt_pair = model, model.get_submodule(blocks), prompt_pair
        clean, corrupted = self._logits(prompt_pair.clean), self._logits(prompt_pair.corrupted)
        self.answer, self.foil = int((clean - corrupted).argmax()), int((clean - corrupted).argmin())
        self.clean, self.corrupted = self._difference(clean), self._difference(corrupted)

    def sites(self, layer: int, place: Place, positions: Sequence[int]) -> Tensor:
        """Patch a site at each of some positions, [pos]."""
        return self._each(layer, place, [(pos, EVERYWHERE) for pos in positions])

    def heads(self, layer: int, place: Place) -> Tensor:
        """Patch each head at all positions, [head]."""
        return self._each(layer, place, [(EVERYWHERE, columns) for columns in place.columns])

    def neurons(self, layer: int, place: Place, neurons: Sequence[int]) -> Tensor:
        """Patch some neurons at all positions, [neuron]."""
        return self._each(layer, place, [(EVERYWHERE, neuron) for neuron in neurons])

    def neurons_at(self, layer: int, place: Place, places: Sequence[tuple[int, int]]) -> Tensor:
        """Patch a neuron at a position, for some pairs of both, [pair]."""
        return self._each(layer, place, [(pos, neuron) for neuron, pos in places])

    def _each(self, layer: int, place: Place, wheres: Sequence[Where]) -> Tensor:
        """Return the logit difference with each patch, one forward at a time."""
        module, clean = self.blocks[layer].get_submodule(place.path), []
        with changing(module, place.end, lambda activation: clean.append(self._by_position(activation).clone())):
            self._logits(self.prompt_pair.clean)
        values = []
        for where in wheres:

            def patch(activation: Tensor, where: Where = where) -> Tensor:
                patched = self._by_position(activation).clone()
                patched[where] = clean[0][where]
                return patched.view(activation.shape)

            with changing(module, place.end, patch):
                values.append(self._difference(self._logits(self.prompt_pair.corrupted)))
        return torch.tensor(values)

    def _by_position(self, activation: Tensor) -> Tensor:
        """Return the activation of the one row there is as [pos, column]; inside OPT's blocks it is that already."""
        return activation.reshape(len(self.prompt_pair.clean), -1)

    @torch.inference_mode()
    def _logits(self, ids: Sequence[int]) -> Tensor:
        return self.model(torch.tensor([list(ids)]), use_cache=False).logits[0, -1]

    def _difference(self, logits: Tensor) -> float:
        return float(logits[self.answer] - logits[self.foil])


@contextmanager
def changing(module: nn.Module, end: str, change: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Let a function see, and change by what it returns, a module's first input or first output."""

    def change_input(_: nn.Module, args: tuple, kwargs: dict[str, Any]) -> Any:
        if args:
            changed = change(args[0])
            return None if changed is None else ((changed, *args[1:]), kwargs)
        changed = change(kwargs["hidden_states"])
        return None if changed is None else (args, {**kwargs, "hidden_states": changed})

    def change_output(_: nn.Module, __: tuple, output: Any) -> Any:
        if isinstance(output, Tensor):
            return change(output)
        changed = change(output[0])
        return None if changed is None else type(output)((changed, *output[1:]))  # OpenAI's GPT adds lists

    if end == "in":
        handle = module.register_forward_pre_hook(change_input, with_kwargs=True)
    else:
        handle = module.register_forward_hook(change_output)
    try:
        yield
    finally:
        handle.remove()
