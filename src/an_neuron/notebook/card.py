"""A neuron's card: what it does in a prompt pair, on a few lines or as a small table in a notebook."""

from dataclasses import dataclass
from html import escape

from an_neuron.files.texts import printable

STRONGEST = 3
"""Positions at which a card shows the activation: the last, and those of the largest change."""


@dataclass(frozen=True, repr=False)
class Card:
    """What a neuron does in a prompt pair.

    Attributes
    ----------
    neuron
        Its name, layer.index.
    recovery
        Of the logit difference, with the neuron patched alone.
    rank, n_neurons
        Its place among all that were patched, by the size of recovery.
    tokens
        Those of the clean and of the corrupted prompt, [prompt][pos].
    activations
        hook_post at each of them, [prompt][pos].
    raised, lowered
        The tokens whose logits the patch moves most directly, the most moved first.
    """

    neuron: str
    recovery: float
    rank: int
    n_neurons: int
    tokens: tuple[tuple[str, ...], ...]
    activations: tuple[tuple[float, ...], ...]
    raised: tuple[str, ...]
    lowered: tuple[str, ...]

    def __repr__(self) -> str:
        """Return the card as lines of text."""
        lines = [f"{name:<9} {value}" for name, value in self._rows()]
        return "\n".join([f"Neuron {self.neuron}", *lines])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self._rows()
        )
        return f"<table><caption><b>Neuron {escape(self.neuron)}</b></caption>{rows}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        """Return what the card says, name and text."""
        return [
            ("recovery", f"{self.recovery:.3f}, rank {self.rank:,} of {self.n_neurons:,}"),
            *((f"at {pos}", self._activation(pos)) for pos in self._positions()),
            ("raises", _quoted(self.raised)),
            ("lowers", _quoted(self.lowered)),
        ]

    def _positions(self) -> list[int]:
        """Return the last position, and those of the largest change before it, counted from the prompt's end."""
        length = len(self.activations[0])
        change = [abs(one - other) for one, other in zip(*self.activations, strict=True)]
        before = [pos for pos in range(length - 1) if change[pos] > change[-1]]
        strongest = sorted(before, key=lambda pos: -change[pos])[: STRONGEST - 1]
        return [pos - length for pos in [length - 1, *strongest]]

    def _activation(self, pos: int) -> str:
        """Say how active the neuron is at a position, in both prompts."""
        clean, corrupted = (activation[pos] for activation in self.activations)
        tokens = dict.fromkeys(printable(tokens[pos]) for tokens in self.tokens)
        return f"activation {clean:.2f} clean, {corrupted:.2f} corrupted ({_quoted(tokens)})"


def _quoted(tokens: "tuple[str, ...] | dict[str, None]") -> str:
    return ", ".join(f'"{printable(token)}"' for token in tokens)
