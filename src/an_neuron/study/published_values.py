"""Published values as they are written: a CSV of quantity, published, tolerance and source."""

import csv
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

from an_neuron.errors import UserError

COLUMNS = ["quantity", "published", "tolerance", "source"]


def published_rows(path: Path) -> list[tuple[str, str, float, str]]:
    """Read published values: quantity, published, tolerance (0 for values that must be the same), source.

    Raises
    ------
    UserError
        If the file cannot be read as a CSV in UTF-8, has no value or lacks a column, a tolerance is not a number or
        negative, or a value with a tolerance is no number; the message lists all such lines.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file)
            rows = [(lines.line_num, line) for line in lines if line]
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a CSV in UTF-8: {error}.") from error
    if not rows:
        raise UserError(f"{path} is empty; it needs the columns {', '.join(COLUMNS)}.")
    if rows[0][1] != COLUMNS:
        raise UserError(f"{path} has the columns {rows[0][1]!s:.200}; it needs {COLUMNS}.")
    mistakes = [f"{path}, line {number}: {mistake}" for number, line in rows[1:] for mistake in _mistakes(line)]
    if mistakes:
        raise UserError("\n".join(mistakes))
    return [(quantity, value, float(tolerance or 0), source) for _, (quantity, value, tolerance, source) in rows[1:]]


def _mistakes(line: list[str]) -> Iterator[str]:
    if len(line) != len(COLUMNS):
        yield f"there are {len(line)} cells, where four belong; put a text with a comma in double quotes."
        return
    quantity, value, written, _ = line
    tolerance = _number(written) if written else 0.0
    if tolerance is None:
        yield f"the tolerance of {quantity!r} is {written!r}, which is not a number; give one, or none for texts."
    elif tolerance < 0:
        yield f"the tolerance of {quantity!r} is {written}, which is negative; give a difference that passes."
    elif tolerance and _number(value) is None:
        yield f"{quantity!r} has a tolerance, but its value {value} is not a number; leave the tolerance empty."


def _number(text: str) -> float | None:
    try:
        return float(text) if isfinite(float(text)) else None
    except ValueError:
        return None
