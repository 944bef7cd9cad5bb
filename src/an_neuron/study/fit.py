"""What a study asks of its model that the model cannot do, each as a sentence with key, value and remedy."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from an_neuron.errors import UserError
from an_neuron.files.schema import Schema
from an_neuron.files.texts import parse_neuron
from an_neuron.model.folder import Shape, folder_mistakes, read_shape
from an_neuron.model.tokenizer import Tokenizer, single_token
from an_neuron.patching.screen_sizes import SAMPLE
from an_neuron.prompts.prompt_set import MAIN, written_pairs
from an_neuron.prompts.tokenizing import tokenize_further, tokenize_prompts

Config = Mapping[str, Any]
CHECKED = Schema("checked.txt", "that the study fits its model, and what it costs where no GPU is used")


def check_with_model(study: Config, folder: Path) -> None:
    """Refuse a study that its model cannot do.

    Raises
    ------
    UserError
        With all mistakes, a line each: tokens, lengths of prompts, layers, neuron, length of rows.
    """
    if mistakes := model_mistakes(study, folder):
        raise UserError("\n  - ".join(["The study does not fit its model:", *mistakes]))


def model_mistakes(study: Config, folder: Path) -> list[str]:
    """Return what a study asks of a model that the model in a folder cannot do."""
    if mistakes := folder_mistakes(folder):
        return [f"model: {mistake}" for mistake in mistakes]
    try:
        shape, tokenizer = read_shape(folder), Tokenizer(folder)
    except UserError as error:
        return [f"model: {error}"]
    mistakes = [*_neuron_mistakes(study, shape), *_range_mistakes(study, shape), *_screen_mistakes(study, shape)]
    for part, pairs in _pairs_by_part(study).items():
        try:
            tokenize_prompts(tokenizer, {**study, "prompts": pairs}, shape, part)
        except UserError as error:
            mistakes += str(error).split("\n")
    try:
        tokenize_further(tokenizer, _further_prompts(study), shape)
    except UserError as error:
        mistakes += str(error).split("\n")
    mistakes += _token_mistakes(study, tokenizer, shape)
    return list(dict.fromkeys(mistakes))


def _pairs_by_part(study: Config) -> dict[str, list[dict[str, str]]]:
    """Return the prompt pairs of a list as `prompts`, those of a file by their parts."""
    parts: dict[str, list[dict[str, str]]] = {}
    for pair in written_pairs(study):
        parts.setdefault("prompts" if pair.part == MAIN else pair.part, []).append(asdict(pair))
    return parts


def _further_prompts(study: Config) -> list[str]:
    """Return the further prompts that are texts; others are told of by the schema."""
    further = study.get("further_prompts")
    return further if isinstance(further, list) and all(isinstance(prompt, str) for prompt in further) else []


def _listed_associations(study: Config) -> dict[str, Config]:
    """Return the associations that a study lists, by their places, if they are whole enough to look into."""
    associations = study.get("associations")
    listed = enumerate(associations if isinstance(associations, list) else ())
    return {f"associations[{n}]": one for n, one in listed if isinstance(one, dict)}


def _token_mistakes(study: Config, tokenizer: Tokenizer, shape: Shape) -> Iterator[str]:
    for where, token in _listed_tokens(study).items():
        try:
            tokenizer.check_vocabulary([single_token(tokenizer, token)], shape.d_vocab)
        except UserError as error:
            yield f"{where}: {error}"


def _listed_tokens(study: Config) -> dict[str, str]:
    """Return the tokens of the associations that a study lists, alone or in groups, by their places."""
    tokens: dict[str, Any] = {}
    for where, listed in _listed_associations(study).items():
        tokens[f"{where}.token"] = listed.get("token")
        group = listed.get("tokens")
        tokens |= {f"{where}.tokens[{n}]": token for n, token in enumerate(group if isinstance(group, list) else ())}
    return {where: token for where, token in tokens.items() if isinstance(token, str)}


def _neuron_mistakes(study: Config, shape: Shape) -> Iterator[str]:
    listed = {f"{where}.neuron": one for where, one in _listed_associations(study).items()}
    for where, block in {"neuron": study, **listed}.items():
        try:
            neuron = parse_neuron(block["neuron"])
        except (KeyError, TypeError, ValueError, UserError):  # auto, or told of by the schema
            continue
        for key, value, limit in zip(("layer", "index"), neuron, (shape.n_layers, shape.d_mlp), strict=True):
            if value >= limit:
                yield f"{where}: {key} {value} is out of range; this model has 0 to {limit - 1}."


def _range_mistakes(study: Config, shape: Shape) -> Iterator[str]:
    for key, layers in {"layers": study.get("layers"), "corpus.neurons": study["corpus"].get("neurons")}.items():
        for layer in layers if isinstance(layers, list) else ():
            if type(layer) is int and not 0 <= layer < shape.n_layers:
                yield f"{key}: {layer} is out of range; this model has layers 0 to {shape.n_layers - 1}."
    n_ctx = study["corpus"].get("n_ctx")
    if type(n_ctx) is int and n_ctx > shape.n_ctx:
        yield f"corpus.n_ctx: {n_ctx} is more than the {shape.n_ctx} tokens that this model can read."


def _screen_mistakes(study: Config, shape: Shape) -> Iterator[str]:
    """Say that a screen leaves no neuron out."""
    sweep, layers = study.get("sweep"), study.get("layers")
    screen, sample = (sweep.get("screen"), sweep.get("sample", SAMPLE)) if isinstance(sweep, dict) else (None, None)
    of = shape.d_mlp * (len(layers) if isinstance(layers, list) else shape.n_layers)
    if type(screen) is int and type(sample) is int and screen + sample >= of:
        chosen = f"screen ({screen:,}) and sample ({sample:,})"
        yield f"sweep: {chosen} leave none of {of:,} neurons out; give fewer, or remove both, and all are patched."


def are_texts(block: Config, *keys: str) -> bool:
    """Return whether all of some keys have texts."""
    return all(isinstance(block.get(key), str) for key in keys)
