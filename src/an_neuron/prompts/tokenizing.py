"""Tokenizing a study's prompts, checked once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from an_neuron.errors import UserError
from an_neuron.model.folder import Shape
from an_neuron.model.tokenizer import Tokenizer, single_token
from an_neuron.prompts.pairs import PromptPair, Prompts


def tokenize_prompts(tokenizer: Tokenizer, study: Mapping[str, Any], shape: Shape, part: str = "prompts") -> Prompts:
    """Tokenize a study's prompt pairs, answer and foil.

    Parameters
    ----------
    tokenizer
        The model's tokenizer.
    study
        The keys `prompts` (a list), `answer` and `foil` of a study.
    shape
        The model's sizes, which limit prompts and token ids.
    part
        What the prompt pairs are called where there is a mistake in them.

    Raises
    ------
    UserError
        If answer or foil is not one token, both are the same one, a prompt is longer than the model's context or holds
        a special token, or a clean and a corrupted prompt differ in length or not at all; the message lists all such
        mistakes, a line each.
    """
    ids, mistakes = _answer_and_foil(tokenizer, study)
    prompt_pairs = []
    for number, pair in enumerate(study["prompts"]):
        prompt_pair = PromptPair(tokenizer.prompt(pair["clean"]), tokenizer.prompt(pair["corrupted"]))
        prompt_pairs.append(prompt_pair)
        found = [
            *_prompt_mistakes(tokenizer, pair["clean"], prompt_pair.clean, shape, "the clean prompt"),
            *_prompt_mistakes(tokenizer, pair["corrupted"], prompt_pair.corrupted, shape, "the corrupted prompt"),
        ]
        mistakes += [f"{part}[{number}]: {one}" for one in found or prompt_pair_mistakes(tokenizer, prompt_pair)]
    prompts = [prompt for prompt_pair in prompt_pairs for prompt in (prompt_pair.clean, prompt_pair.corrupted)]
    mistakes += _vocabulary_mistakes(tokenizer, [list(ids.values()), *prompts], shape)
    if mistakes:
        raise UserError("\n".join(mistakes))
    return Prompts(prompt_pairs, ids["answer"], ids["foil"])


def tokenize_further(tokenizer: Tokenizer, prompts: Sequence[str], shape: Shape) -> list[list[int]]:
    """Tokenize a study's further prompts, which are predicted and not patched.

    Raises
    ------
    UserError
        If one is longer than the model's context or holds a special token; the message lists all of them, a line each.
    """
    further = [tokenizer.prompt(prompt) for prompt in prompts]
    mistakes = [
        f"further_prompts[{number}]: {mistake}"
        for number, (text, ids) in enumerate(zip(prompts, further, strict=True))
        for mistake in _prompt_mistakes(tokenizer, text, ids, shape, "the prompt")
    ]
    mistakes += _vocabulary_mistakes(tokenizer, further, shape)
    if mistakes:
        raise UserError("\n".join(mistakes))
    return further


def _answer_and_foil(tokenizer: Tokenizer, study: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return the ids of answer and foil, and what is wrong with them."""
    ids: dict[str, int] = {}
    mistakes = []
    for key in ("answer", "foil"):
        try:
            ids[key] = single_token(tokenizer, study[key])
        except UserError as error:
            mistakes.append(f"{key}: {error}")
    if len(ids) == 2 and ids["answer"] == ids["foil"] and study["answer"] != study["foil"]:
        mistakes.append(
            f"foil: answer {study['answer']!r} and foil {study['foil']!r} are one token of this model, "
            f"{ids['foil']} ({tokenizer.text(ids['foil'])!r}), so their logits never differ; choose another foil."
        )
    return ids, mistakes


def _prompt_mistakes(tokenizer: Tokenizer, text: str, ids: Sequence[int], shape: Shape, name: str) -> list[str]:
    """Return what is wrong with one prompt."""
    mistakes = [
        f"{name} holds {special!r}, a special token of this model; prompts are plain text, so take it out."
        for special in tokenizer.special
        if special in text
    ]
    if len(ids) == 1:
        mistakes.append(f"{name} has no tokens: this model's tokenizer drops the whole text; write another.")
    if len(ids) > shape.n_ctx:
        mistakes.append(
            f"{name} has {len(ids)} tokens with BOS, more than the {shape.n_ctx} of the model's context; shorten it."
        )
    return mistakes


def prompt_pair_mistakes(tokenizer: Tokenizer, prompt_pair: PromptPair) -> list[str]:
    """Return why two prompts are no prompt pair, a sentence each that begins in lower case; empty if they are one."""
    if prompt_pair.clean == prompt_pair.corrupted:
        return ["clean and corrupted prompt are the same; change the word that decides the answer."]
    if len(prompt_pair.clean) == len(prompt_pair.corrupted):
        return []
    clean, corrupted = ("|".join(_shown(tokenizer, ids[1:])) for ids in (prompt_pair.clean, prompt_pair.corrupted))
    return [
        f"the clean prompt has {len(prompt_pair.clean)} tokens with BOS, the corrupted one "
        f"{len(prompt_pair.corrupted)}; patching needs equal lengths, so choose words of equally many tokens. "
        f"Clean: {clean}  Corrupted: {corrupted}"
    ]


def _shown(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """Return tokens' texts on one line: line ends and the like as escapes."""
    return [text if text.isprintable() else repr(text)[1:-1] for text in tokenizer.texts(ids)]


def _vocabulary_mistakes(tokenizer: Tokenizer, rows: Iterable[Sequence[int]], shape: Shape) -> list[str]:
    try:
        tokenizer.check_vocabulary([token for row in rows for token in row], shape.d_vocab)
    except UserError as error:
        return [f"model: {error}"]
    return []
