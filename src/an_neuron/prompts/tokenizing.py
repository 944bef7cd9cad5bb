"""Tokenizing a study's prompts, checked once."""

from collections.abc import Mapping
from typing import Any

from an_neuron.errors import UserError
from an_neuron.model.tokenizer import Tokenizer, single_token
from an_neuron.prompts.pairs import PromptPair, Prompts


def tokenize_prompts(tokenizer: Tokenizer, study: Mapping[str, Any], part: str = "prompts") -> Prompts:
    """Tokenize a study's prompts, answer and foil.

    Parameters
    ----------
    tokenizer
        The model's tokenizer.
    study
        The keys `prompts` (a list), `further_prompts`, `answer` and `foil` of a study.
    part
        What the prompt pairs are called where there is a mistake in them.

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
        mistakes += [f"{part}[{number}]: {mistake}" for mistake in _prompt_pair_mistakes(tokenizer, prompt_pair)]
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
        f"the clean prompt has {len(prompt_pair.clean)} tokens with BOS, the corrupted one "
        f"{len(prompt_pair.corrupted)}; patching needs equal lengths, so choose words of equally many tokens. "
        f"Clean: {clean}  Corrupted: {corrupted}"
    ]
