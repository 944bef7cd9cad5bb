"""What `find_neuron` returns: the neuron, the sweep it stands out of, and its card."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from an_neuron.errors import UserError
from an_neuron.files.extras import extras
from an_neuron.files.texts import neuron_name, parse_neuron
from an_neuron.model.tokenizer import Tokenizer
from an_neuron.notebook.card import Card
from an_neuron.patching.activation_changes import telling_change
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.top_neurons import TopNeurons, folded_unembedding, moved_tokens, top_neurons
from an_neuron.prompts.pairs import PromptPair

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class FoundNeuron:
    """The neuron of the largest recovery, among those of a sweep.

    Attributes
    ----------
    engine
        The model, for further patching.
    tokenizer
        Its tokenizer.
    prompt_pair
        Token ids of the clean and the corrupted prompt.
    metric
        The difference of the logits of answer and foil.
    sweep
        The patches of all neurons.
    """

    engine: Engine
    tokenizer: Tokenizer
    prompt_pair: PromptPair
    metric: LogitDifference
    sweep: Sweep

    def __repr__(self) -> str:
        """Name the neuron, its recovery, and what was swept."""
        return f"<Neuron {self.neuron}, recovery {self.recovery:.3f}, of {self.sweep!r}>"

    def _repr_html_(self) -> str:
        return self.card()._repr_html_()

    @property
    def neuron(self) -> str:
        """The neuron's name, layer.index."""
        row, index = divmod(int(self.sweep.recovery.argmax()), self.sweep.recovery.shape[1])
        return neuron_name(self.layers[row], index)

    @property
    def recovery(self) -> float:
        """Its recovery: 0 = the patch did nothing, 1 = the clean run is restored."""
        return float(self.sweep.recovery.max())

    @property
    def layers(self) -> list[int]:
        """The layers whose neurons were patched."""
        return [int(layer) for layer in self.sweep.axes[0][1]]

    def top(self, k: int = 10) -> pd.DataFrame:
        """Return the k neurons of the largest absolute recovery, a row each.

        Columns are `neuron`, `recovery`, `change` (clean − corrupted activation, hook_post), and `raised` and
        `lowered`: the tokens that its patch moves most directly, by sign(change) · W_out · W_U.
        """
        top = self._top(k)
        names = [neuron_name(layer, index) for layer, index in zip(top.layer, top.index, strict=True)]
        moved = {"raised": top.raised, "lowered": top.lowered}
        return pd.DataFrame({"neuron": names, "recovery": top.recovery, "change": top.change, **moved})

    def card(self, neuron: str | tuple[int, int] | None = None) -> Card:
        """Return what one neuron does, by default the found one; neurons are "25.1527" or (25, 1527).

        Raises
        ------
        UserError
            If the neuron was not patched.
        """
        layer, index = _place(self.neuron if neuron is None else neuron)
        if layer not in self.layers or not 0 <= index < self.sweep.recovery.shape[1]:
            raise UserError(f"Neuron {neuron_name(layer, index)} was not patched; name its layer in `layers`.")
        row = self.layers.index(layer)
        change, recovery = float(self._change[row, index]), self.sweep.recovery
        w_out = self.engine.bridge.blocks[layer].mlp.W_out[index]
        raised, lowered = moved_tokens(w_out.detach(), self._unembedding, change)
        activation = self._activations[:, row, :, index]  # [prompt, pos]
        return Card(
            neuron=neuron_name(layer, index),
            recovery=float(recovery[row, index]),
            rank=1 + int((recovery.abs() > recovery[row, index].abs()).sum()),
            n_neurons=recovery.numel(),
            tokens=tuple(tuple(self.tokenizer.texts(ids)) for ids in self._prompts),
            activations=tuple(tuple(of_prompt.tolist()) for of_prompt in activation),
            raised=tuple(self.tokenizer.texts(raised)),
            lowered=tuple(self.tokenizer.texts(lowered)),
        )

    def written(self, neuron: str | tuple[int, int], k: int = 10, largest: bool = True) -> list[tuple[str, float]]:
        """Return the tokens with the largest, or smallest, W_out · W_U of a neuron, and these values.

        The final norm's weights are folded into W_U; its scale is left out.
        """
        layer, index = _place(neuron)
        direct = self.engine.bridge.blocks[layer].mlp.W_out[index].detach() @ self._unembedding
        values, tokens = direct.topk(k, largest=largest)
        return [*zip(self.tokenizer.texts(tokens.tolist()), values.tolist(), strict=True)]

    def plot(self) -> "go.Figure":
        """Draw every neuron's recovery, layer beside layer; the pointer names each, and the largest are labelled.

        Raises
        ------
        UserError
            If plotly is not installed.
        """
        with extras():
            from an_neuron.figures.neurons import neuron_map_fig
            from an_neuron.files.hdf5 import Table
        top = self._top(None)
        values = {"recovery": self.sweep.recovery.numpy(), "layer": np.array(self.layers)}
        listed = {"top_layer": top.layer, "top_index": top.index, "top_tokens": top.raised}
        arrays = {name: np.array(of_top, dtype=object) for name, of_top in listed.items()}
        answer, foil = self.tokenizer.texts([self.metric.answer, self.metric.foil])
        return neuron_map_fig(
            Table(Path("sweep"), {**values, **arrays}, {"answer": answer, "foil": foil}), static=False
        )

    def _top(self, number: int | None) -> TopNeurons:
        swept = self.layers, self.sweep.recovery, self._change
        return top_neurons(self.engine.bridge, self.tokenizer, *swept, self._unembedding, number)

    @property
    def _prompts(self) -> tuple[list[int], list[int]]:
        return self.prompt_pair.clean, self.prompt_pair.corrupted

    @cached_property
    def _activations(self) -> Tensor:
        """hook_post in the clean and in the corrupted prompt, [prompt, layer, pos, d_mlp]."""
        sites = [(layer, "post") for layer in self.layers]
        seen = [self.engine.ordinary.activations(ids, sites) for ids in self._prompts]
        return torch.stack([torch.stack([of_prompt[site] for site in sites]) for of_prompt in seen]).float().cpu()

    @cached_property
    def _change(self) -> Tensor:
        """The change of each activation that tells what its patch writes, [layer, d_mlp]."""
        clean, corrupted = self._activations
        return telling_change([clean - corrupted])

    @cached_property
    def _unembedding(self) -> Tensor:
        return folded_unembedding(self.engine.bridge)


def _place(neuron: str | tuple[int, int]) -> tuple[int, int]:
    return parse_neuron(neuron) if isinstance(neuron, str) else neuron
