"""The file of a study's prompts, prompts/tokens.h5: read by every job that runs the model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table
from an_neuron.files.schema import Field, Schema
from an_neuron.prompts.pairs import PromptPair, Prompts

if TYPE_CHECKING:  # what only reads prompts does not depend on the tokenizer
    from an_neuron.model.tokenizer import Tokenizer

PADDING = -1
COMPARED = {
    "answer": "text of the answer token",
    "foil": "text of the foil token",
    "answer_id": "id of the answer token",
    "foil_id": "id of the foil token",
}
"""The root attributes that name the two tokens whose logits are compared."""
TOKENS = Schema(
    "prompts/tokens.h5",
    "the prompts as tokens, aligned at their ends",
    {
        "clean_id": Field("prompt_pair pos", "int32", "token id", "clean prompts with BOS, -1 where shorter"),
        "clean_token": Field("prompt_pair pos", "text", "", "tokens of clean prompts, '' where shorter"),
        "corrupted_id": Field("prompt_pair pos", "int32", "token id", "corrupted prompts with BOS, -1 where shorter"),
        "corrupted_token": Field("prompt_pair pos", "text", "", "tokens of corrupted prompts, '' where shorter"),
    },
    COMPARED,
)


def right_aligned(rows: Sequence[Sequence[Any]], fill: Any, dtype: Any) -> np.ndarray:
    """Stack rows of different length into one array, [row, pos], that ends where each row ends."""
    length = max((len(row) for row in rows), default=0)
    stacked = np.full((len(rows), length), fill, dtype=dtype)
    for number, row in enumerate(rows):
        stacked[number, length - len(row) :] = row
    return stacked


def write_prompts(path: Path, prompts: Prompts, tokenizer: "Tokenizer", attributes: Mapping[str, Any]) -> None:
    """Write prompts/tokens.h5."""
    clean = [prompt_pair.clean for prompt_pair in prompts.prompt_pairs]
    corrupted = [prompt_pair.corrupted for prompt_pair in prompts.prompt_pairs]
    values = {
        "clean_id": right_aligned(clean, PADDING, np.int32),
        "clean_token": token_texts(tokenizer, clean),
        "corrupted_id": right_aligned(corrupted, PADDING, np.int32),
        "corrupted_token": token_texts(tokenizer, corrupted),
    }
    tokens = {"answer_id": prompts.answer, "foil_id": prompts.foil}
    names = {"answer": tokenizer.text(prompts.answer), "foil": tokenizer.text(prompts.foil)}
    hdf5.write(path, TOKENS, values, {**attributes, **names, **tokens})


def token_texts(tokenizer: "Tokenizer", rows: Sequence[Sequence[int]]) -> np.ndarray:
    """Return the text of each token of rows of ids, [row, pos], '' where a row is shorter."""
    return right_aligned([tokenizer.texts(list(row)) for row in rows], "", object)


def read_prompts(path: Path) -> tuple[Prompts, Table]:
    """Read prompts/tokens.h5; the table has the tokens' texts."""
    table = hdf5.read(path, TOKENS)
    clean, corrupted = (_rows(table[f"{name}_id"]) for name in ("clean", "corrupted"))
    prompt_pairs = [PromptPair(one, other) for one, other in zip(clean, corrupted, strict=True)]
    return Prompts(prompt_pairs, int(table.attributes["answer_id"]), int(table.attributes["foil_id"])), table


def token_attributes(table: Table) -> dict[str, Any]:
    """Return the root attributes that name answer and foil, for the files that compare them."""
    return {key: table.attributes[key] for key in ("answer", "foil", "answer_id", "foil_id")}


def _rows(ids: np.ndarray) -> list[list[int]]:
    return [row[row != PADDING].tolist() for row in ids]
