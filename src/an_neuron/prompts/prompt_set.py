"""Prompt pairs in a file: the main ones, and a set of further ones that a finding is held against."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from an_neuron.errors import UserError

COLUMNS = ("part", "clean", "corrupted")
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
    """Read a CSV with the columns part, clean and corrupted.

    Raises
    ------
    UserError
        If the file is missing, has other columns, a part of another name, an empty prompt or no main pair; the message
        lists all such lines.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            if tuple(lines.fieldnames or ()) != COLUMNS:
                raise UserError(f"{path} has the columns {lines.fieldnames!s:.200}; it needs {', '.join(COLUMNS)}.")
            rows = [(lines.line_num, line) for line in lines]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a CSV in UTF-8: {error}.") from error
    mistakes = [f"{path}, line {number}: {mistake}" for number, line in rows for mistake in _line_mistakes(line)]
    if mistakes:
        raise UserError("\n".join(mistakes))
    pairs = [WrittenPair(*(line[column] for column in COLUMNS)) for _, line in rows]
    if not any(pair.part == MAIN for pair in pairs):
        raise UserError(f"{path} has no prompt pair of the part {MAIN}, which every sweep needs.")
    return pairs


def _line_mistakes(line: Mapping[str | None, Any]) -> Iterator[str]:
    """Yield what is wrong with a line, whose cells beyond the columns are under None."""
    if None in line:
        yield "there are more than three cells; put a prompt with a comma in double quotes."
    if line["part"] not in PARTS:
        yield f"the part is {line['part']!r}; it can be {', '.join(PARTS)}."
    if not line["clean"] or not line["corrupted"]:
        yield "a prompt is empty; write a clean and a corrupted one."
