"""Prompt pairs, answer and foil as token ids: checked once, then read by every job that runs the model."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from an_neuron.errors import UserError
from an_neuron.files import old_hdf5 as hdf5
from an_neuron.files.old_hdf5 import Dataset
from an_neuron.model.folder import Tokenizer
from an_neuron.model.tokens import single_token

PADDING = -1


@dataclass(frozen=True)
class PromptPair:
    """Token ids, BOS first, of a clean and a corrupted prompt of equal length."""

    clean: list[int]
    corrupted: list[int]


@dataclass(frozen=True)
class Prompts:
    """A study's prompts as token ids; further prompts are predicted, not patched."""

    prompt_pairs: list[PromptPair]
    further: list[list[int]]
    answer: int
    foil: int

    def all(self) -> list[list[int]]:
        """Return clean and corrupted prompt of each prompt pair, then the further prompts."""
        return [
            prompt for prompt_pair in self.prompt_pairs for prompt in (prompt_pair.clean, prompt_pair.corrupted)
        ] + self.further


def first_difference(base: Sequence[int], source: Sequence[int]) -> int:
    """Return p0, the first position at which two prompts differ.

    Raises
    ------
    UserError
        If they are of different length or do not differ.
    """
    if len(base) != len(source):
        raise UserError(f"A prompt pair's prompts must have equally many tokens, not {len(base)} and {len(source)}.")
    for pos, (one, other) in enumerate(zip(base, source, strict=True)):
        if one != other:
            return pos
    raise UserError("Clean and corrupted prompt are the same prompt, so there is nothing to patch.")


def tokenize_prompts(tokenizer: Tokenizer, study: dict[str, Any]) -> Prompts:
    """Tokenize a study's prompts, answer and foil.

    Parameters
    ----------
    tokenizer
        The model's tokenizer.
    study
        The keys `prompts`, `further_prompts`, `answer` and `foil` of a study.

    Raises
    ------
    UserError
        If an answer is not one token, or a clean and a corrupted prompt differ in length or not at all; the message
        lists all such mistakes, a line each.
    """
    mistakes: list[str] = []
    ids = {}
    for key in ("answer", "foil"):
        try:
            ids[key] = single_token(tokenizer, study[key])
        except UserError as error:
            mistakes.append(f"{key}: {error}")
    prompt_pairs = [
        PromptPair(tokenizer.prompt(prompt_pair["clean"]), tokenizer.prompt(prompt_pair["corrupted"]))
        for prompt_pair in study["prompts"]
    ]
    for number, prompt_pair in enumerate(prompt_pairs):
        mistakes += [f"prompts[{number}]: {mistake}" for mistake in _prompt_pair_mistakes(tokenizer, prompt_pair)]
    if mistakes:
        raise UserError("\n".join(mistakes))
    further = [tokenizer.prompt(prompt) for prompt in study.get("further_prompts", [])]
    return Prompts(prompt_pairs, further, ids["answer"], ids["foil"])


def _prompt_pair_mistakes(tokenizer: Tokenizer, prompt_pair: PromptPair) -> list[str]:
    if prompt_pair.clean == prompt_pair.corrupted:
        return ["clean and corrupted prompt are the same; change the word that decides the answer."]
    if len(prompt_pair.clean) == len(prompt_pair.corrupted):
        return []
    clean, corrupted = ("|".join(tokenizer.texts(ids[1:])) for ids in (prompt_pair.clean, prompt_pair.corrupted))
    return [
        f"the clean prompt has {len(prompt_pair.clean)} tokens with BOS, the corrupted one {len(prompt_pair.corrupted)}; patching "
        f"needs equal lengths, so choose words of equally many tokens. Clean: {clean}  Corrupted: {corrupted}"
    ]


def right_aligned(rows: Sequence[Sequence[Any]], fill: Any, dtype: Any) -> np.ndarray:
    """Stack rows of different length into one array, [row, pos], that ends where each row ends."""
    length = max((len(row) for row in rows), default=0)
    stacked = np.full((len(rows), length), fill, dtype=dtype)
    for number, row in enumerate(rows):
        stacked[number, length - len(row) :] = row
    return stacked


def write_prompts(path: Path, prompts: Prompts, tokenizer: Tokenizer, attributes: dict[str, Any]) -> None:
    """Write prompts/tokens.h5.

    =============  ==============  =====  ==========================================================
    dataset        dims            dtype  content
    =============  ==============  =====  ==========================================================
    clean_id       prompt pair, pos       int32  token ids with BOS; -1 before the begin of shorter prompts
    corrupted_id   prompt pair, pos       int32  the same of the corrupted prompts
    further_id     prompt, pos     int32  the same of prompts that are only predicted
    clean_token    prompt pair, pos       text   text of each token
    corrupted_token prompt pair, pos      text   text of each token
    =============  ==============  =====  ==========================================================

    The root attributes answer, foil, answer_id and foil_id name the two tokens that are compared.
    """
    rows = {
        "clean": [prompt_pair.clean for prompt_pair in prompts.prompt_pairs],
        "corrupted": [prompt_pair.corrupted for prompt_pair in prompts.prompt_pairs],
        "further": prompts.further,
    }
    datasets = {}
    for name, ids in rows.items():
        dims = ("prompt" if name == "further" else "prompt_pair", "pos")
        aligned = right_aligned(ids, PADDING, np.int32)
        datasets[f"{name}_id"] = Dataset(aligned, dims, "token id", f"{name} prompts with BOS, -1 where shorter")
        if name != "further":
            datasets[f"{name}_token"] = Dataset(token_texts(tokenizer, ids), dims, "", f"tokens of {name} prompts")
    tokens = {"answer_id": prompts.answer, "foil_id": prompts.foil}
    names = {"answer": tokenizer.text(prompts.answer), "foil": tokenizer.text(prompts.foil)}
    hdf5.write(path, datasets, {**attributes, **names, **tokens})


def token_texts(tokenizer: Tokenizer, rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the text of each token of rows of ids, [row, pos], '' where a row is shorter."""
    return right_aligned([tokenizer.texts(list(row)) for row in rows], "", object)


def read_prompts(path: Path) -> tuple[Prompts, hdf5.Table]:
    """Read prompts/tokens.h5; the table has the tokens' texts."""
    table = hdf5.read(path)
    clean, corrupted, further = (_rows(table[f"{name}_id"]) for name in ("clean", "corrupted", "further"))
    prompt_pairs = [PromptPair(one, other) for one, other in zip(clean, corrupted, strict=True)]
    return Prompts(prompt_pairs, further, int(table.attributes["answer_id"]), int(table.attributes["foil_id"])), table


def token_attributes(table: hdf5.Table) -> dict[str, Any]:
    """Return the root attributes that name answer and foil, for the files that compare them."""
    return {key: table.attributes[key] for key in ("answer", "foil", "answer_id", "foil_id")}


def _rows(ids: np.ndarray) -> list[list[int]]:
    return [row[row != PADDING].tolist() for row in ids]
