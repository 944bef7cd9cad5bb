"""Prompt pairs in a file: the main ones, and a set of further ones that a finding is held against."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from an_neuron.errors import UserError
from an_neuron.files.texts import printable

COLUMNS = ("part", "clean", "corrupted")
JSONL = ".jsonl"
EXAMPLE = '{"part": "main", "clean": "…", "corrupted": "…"}'
LONGEST_NAME = 200
MAIN, DEVELOPMENT, HELD_OUT = "main", "development", "held_out"
PARTS = (MAIN, DEVELOPMENT, HELD_OUT)


@dataclass(frozen=True)
class WrittenPair:
    """The texts of a clean and a corrupted prompt, and their part.

    Attributes
    ----------
    part
        `main` (all sweeps run on these), `development` (looked at while a study was made) or `held_out` (not looked at;
        numbers that are reported as general come from these).
    """

    part: str
    clean: str
    corrupted: str


def written_pairs(block: Mapping[str, Any]) -> list[WrittenPair]:
    """Return the prompt pairs of a study's block: of `prompts`, a list of main ones or a file, and of `prompt_set`.

    Raises
    ------
    UserError
        If the file cannot be read as `read_prompt_file` says.
    """
    given = block["prompts"]
    if isinstance(given, Mapping):
        return read_prompt_file(Path(given["file"]))
    main = [WrittenPair(MAIN, pair["clean"], pair["corrupted"]) for pair in given]
    return [*main, *(WrittenPair(**pair) for pair in block.get("prompt_set", ()))]


def read_prompt_file(path: Path) -> list[WrittenPair]:
    """Read a CSV with the columns part, clean and corrupted, or JSONL: an object with these keys on each line.

    Parameters
    ----------
    path
        JSONL where its name ends with .jsonl, else a CSV; blank lines are passed over.

    Raises
    ------
    UserError
        If the file is missing, has other columns or keys, a part of another name, an empty prompt or no main pair; the
        message lists all such lines.
    """
    rows = _jsonl_rows(path) if path.suffix.lower() == JSONL else _csv_rows(path)
    mistakes = [f"{path}, line {number}: {mistake}" for number, row in rows for mistake in _mistakes(row)]
    if mistakes:
        raise UserError("\n".join(mistakes))
    pairs = [WrittenPair(*(row[column] for column in COLUMNS)) for _, row in rows]
    if not any(pair.part == MAIN for pair in pairs):
        raise UserError(f"{path} has no prompt pair of the part {MAIN}, which every sweep needs.")
    return pairs


def _csv_rows(path: Path) -> list[tuple[int, Any]]:
    """Return the rows of a CSV with their lines; cells beyond the columns are under None."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            if tuple(lines.fieldnames or ()) != COLUMNS:
                raise UserError(f"{path} has the columns {lines.fieldnames!s:.200}; it needs {', '.join(COLUMNS)}.")
            return [(lines.line_num, line) for line in lines]
    except (OSError, ValueError, csv.Error) as error:
        raise _unreadable(path, "a CSV", error) from error


def _unreadable(path: Path, kind: str, error: Exception) -> UserError:
    """Return the sentence for a file that cannot be read, whatever letters, and however many, its name has."""
    reason = error.strerror if isinstance(error, OSError) else error
    return UserError(f"{printable(path, LONGEST_NAME)} cannot be read as {kind} in UTF-8: {reason}.")


def _jsonl_rows(path: Path) -> list[tuple[int, Any]]:
    """Return what stands on each line of JSONL, with its line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise _unreadable(path, "JSONL", error) from error
    rows: list[tuple[int, Any]] = []
    for number, line in enumerate(lines, start=1):
        try:
            rows += [(number, json.loads(line, object_pairs_hook=_once))] if line.strip() else []
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number} is no JSON object: {error}; write {EXAMPLE}.") from error
    return rows


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON, in which no key may stand twice: the last one would count without a word."""
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values


def _mistakes(row: Any) -> Iterator[str]:
    """Yield what is wrong with a row."""
    if not isinstance(row, dict):
        yield f"{row!r:.100} is no object; write {EXAMPLE}."
        return
    if None in row:
        yield "there are more than three cells; put a prompt with a comma in double quotes."
    if unknown := [key for key in row if key is not None and key not in COLUMNS]:
        yield f"the key {unknown[0]!r:.100} is unknown; known keys: {', '.join(COLUMNS)}."
    if missing := [column for column in COLUMNS if column not in row]:
        yield f"the key {missing[0]!r} is missing; write {EXAMPLE}."
        return
    yield from _value_mistakes(row)


def _value_mistakes(row: Mapping[str, Any]) -> Iterator[str]:
    if row["part"] not in PARTS:
        yield f"the part is {row['part']!r:.100}; it can be {', '.join(PARTS)}."
    prompts = [row["clean"], row["corrupted"]]
    if not all(prompts):
        yield "a prompt is empty; write a clean and a corrupted one."
    elif wrong := [prompt for prompt in prompts if not isinstance(prompt, str)]:
        yield f"the prompt {wrong[0]!r:.100} is no text; put it in double quotes."
    elif wrong := [prompt for prompt in prompts if any("\ud800" <= character <= "\udfff" for character in prompt)]:
        yield f"the prompt {wrong[0]!r:.100} holds half of a character (a surrogate); write the whole one."
