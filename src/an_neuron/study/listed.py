"""The associations that a study lists besides the studied one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from an_neuron.files.texts import neuron_name, parse_neuron


@dataclass(frozen=True)
class Listed:
    """An association that a study lists: the texts of a token, or of a group of tokens, and a neuron."""

    tokens: tuple[str, ...]
    layer: int
    index: int

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Listed":
        """Make one from its block of a checked configuration."""
        tokens = tuple(block["tokens"]) if "tokens" in block else (block["token"],)
        return cls(tokens, *parse_neuron(block["neuron"]))

    @property
    def written(self) -> dict[str, Any]:
        """The block, as the configuration spells it."""
        tokens = {"token": self.tokens[0]} if len(self.tokens) == 1 else {"tokens": [*self.tokens]}
        return {**tokens, "neuron": neuron_name(self.layer, self.index)}
