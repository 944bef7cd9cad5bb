"""The written configuration: a file of YAML or JSON that can be read, in which no key stands twice."""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from an_neuron.errors import UserError

OF_SNAKEMAKE = "pathvars"
FRESH = "take the shipped config.yaml as a pattern."


def check_written(path: Path) -> None:
    """Refuse a configuration that cannot be read, or says something twice, of which the last one would count.

    Parameters
    ----------
    path
        A file in YAML, of which JSON is a part. Where there is none, nothing is wrong with it.

    Raises
    ------
    UserError
        With the line of what is wrong; all keys that stand twice are named.
    """
    if not path.exists():
        return
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not in UTF-8 ({error}); save it in that encoding.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it a readable file.") from error
    if _is_json(text):  # may be indented by tabs, which YAML may not
        return
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        yaml.safe_load(text)
        keys = [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        twice = list(_twice(node, ""))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path} is no YAML: {_said(error)}; {FRESH}") from error
    if not keys:
        raise UserError(f"{path} holds no keys; {FRESH}")
    if OF_SNAKEMAKE in keys:
        raise UserError(f"{path} has the key {OF_SNAKEMAKE}, by which Snakemake moves results; take it out.")
    if twice:
        raise UserError("\n  - ".join([f"{path} has keys that stand twice; keep one of each:", *twice]))


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict) and "\t" in text
    except (ValueError, RecursionError):
        return False


def _said(error: Exception) -> str:
    """Return what a parser complains of, with its line and column, on one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or 'it cannot be parsed'}"
    return " ".join(str(error).split()) or type(error).__name__


def _twice(node: yaml.Node | None, where: str) -> Iterator[str]:
    """Yield each key of a mapping that stands twice, with its place, and those of the mappings inside."""
    if isinstance(node, yaml.SequenceNode):
        for number, below in enumerate(node.value):
            yield from _twice(below, f"{where}[{number}]")
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[str, int] = {}
    for key, below in node.value:
        name = str(key.value)
        place, line = f"{where}.{name}" if where else name, key.start_mark.line + 1
        if name in lines:
            yield f"{place}: stands in line {lines[name]} and in line {line}."
        lines.setdefault(name, line)
        yield from _twice(below, place)
