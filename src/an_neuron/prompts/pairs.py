"""Prompt pairs, answer and foil as token ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING

from an_neuron.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PromptPair:
    """Token ids, BOS first, of a clean and a corrupted prompt of equal length."""

    clean: list[int]
    corrupted: list[int]


@dataclass(frozen=True)
class Prompts:
    """A study's prompt pairs, answer and foil as token ids."""

    prompt_pairs: list[PromptPair]
    answer: int
    foil: int

    def all(self) -> list[list[int]]:
        """Return clean and corrupted prompt of each prompt pair."""
        return [prompt for prompt_pair in self.prompt_pairs for prompt in (prompt_pair.clean, prompt_pair.corrupted)]


def first_difference(base: Sequence[int], source: Sequence[int]) -> int:
    """Return p0, the first position at which two prompts differ.

    Raises
    ------
    UserError
        If they are of different length or do not differ.
    """
    if len(base) != len(source):
        raise UserError(
            f"A prompt pair's prompts must have equally many tokens, not {len(base)} and {len(source)}: what "
            "is patched is a position's activation by that of the same position. Choose words of as many tokens."
        )
    for pos, (one, other) in enumerate(zip(base, source, strict=True)):
        if one != other:
            return pos
    raise UserError("Clean and corrupted prompt are the same prompt, so there is nothing to patch.")


def check_token_ids(ids: Sequence[int], d_vocab: int) -> None:
    """Stop where one of some token ids is none of a vocabulary's.

    Raises
    ------
    UserError
        With the first wrong one.
    """
    for token in ids:
        if not isinstance(token, Integral) or not 0 <= token < d_vocab:
            raise UserError(f"{token!r} is no token id; the model's vocabulary has ids 0 to {d_vocab - 1}.")


def logit_difference(logits: "Tensor", answer: int, foil: int) -> "Tensor":
    """Return logit(answer) - logit(foil), [...], of logits [..., d_vocab]."""
    return logits[..., answer] - logits[..., foil]
