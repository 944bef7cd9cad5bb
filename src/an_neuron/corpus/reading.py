"""Reading the documents of files one after the other, in little memory whatever the size of a file.

What may be a document is an item: a line of a .jsonl file, a row of a .parquet file, or a whole .txt or .html file.
Files may be compressed (.gz, .zst); they are unpacked as they are read.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from an_neuron.corpus.boilerplate import without_boilerplate
from an_neuron.corpus.sources import LINES, PACKED, TABLE, kind_of
from an_neuron.corpus.text import text_of
from an_neuron.errors import UserError
from an_neuron.files.texts import is_whole

ROWS_AT_ONCE = 256
"""Of a table."""
BUFFER = 1 << 20
"""Bytes that are unpacked at once."""
BROKEN = (OSError, pa.ArrowException)
"""What is raised by a file that is missing, cut off or damaged."""
SKIP = "corpus: {on_bad_line: skip}"


@dataclass(frozen=True)
class How:
    """How items become texts.

    Attributes
    ----------
    column
        The name of the texts in lines and tables.
    encoding, boilerplate
        Of whole files, as for a book: see `an_neuron.corpus.text` and `an_neuron.corpus.boilerplate`.
    """

    column: str = "text"
    encoding: str | None = None
    boilerplate: str = "keep"


@dataclass(frozen=True)
class Item:
    """What may be a document.

    Attributes
    ----------
    line
        Its line or row in the file, counted from 1; 0 where it is the whole file.
    text
        None where it is no document.
    mistake
        Why it is none.
    """

    line: int
    text: str | None
    mistake: UserError | None = None


def count_items(path: Path) -> int:
    """Return how many items a file has; a file that is damaged from some place on has one there, and ends with it."""
    kind = kind_of(path)
    if kind == LINES:
        return sum(1 for _ in _lines(path))
    if kind == TABLE:
        try:
            with _table(path) as table:
                return int(table.metadata.num_rows)
        except BROKEN:
            return 1
    return 1


def read_items(path: Path, how: How, first: int = 0, upto: int | None = None) -> Iterator[Item]:
    """Yield the items of a file from number `first` on and before `upto`, counted from 0; blank lines are none."""
    kind = kind_of(path)
    if kind == LINES:
        for number, line in enumerate(islice(_lines(path), first, upto), start=first + 1):
            if isinstance(line, Exception):
                yield _broken(path, number, line)
            elif line.strip():
                yield _item(path, number, *_text_in_line(line, how.column))
    elif kind == TABLE:
        yield from _rows(path, how.column, first, upto)
    elif first == 0 and upto != 0:
        yield _whole(path, how)


def _lines(path: Path) -> Iterator[bytes | Exception]:
    """Yield the lines of a file, and where it breaks off the error."""
    try:
        with _unpacked(path) as file:
            yield from file
    except BROKEN as error:
        yield error


def _unpacked(path: Path) -> BinaryIO:
    return io.BufferedReader(pa.input_stream(str(path), compression="detect"), BUFFER)


def _text_in_line(line: bytes, column: str) -> tuple[Any, str]:
    """Return what a line has as its text, and where it has none why."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, f"is no JSON ({error})"
    if not isinstance(content, dict):
        return None, "holds no JSON object"
    return content.get(column), _lack(column)


def _rows(path: Path, column: str, first: int, upto: int | None) -> Iterator[Item]:
    number = first
    try:
        with _table(path) as table:
            upto = table.metadata.num_rows if upto is None else upto
            if column not in table.schema_arrow.names:
                for number in range(first, upto):
                    yield _item(path, number + 1, None, _lack(column))
                return
            for value in _values(table, column, first, upto):
                number += 1
                yield _item(path, number, value, _lack(column))
    except (*BROKEN, UnicodeDecodeError) as error:
        yield _broken(path, number + 1, error)


def _table(path: Path) -> Any:
    """Open a table; one that is compressed as a whole is unpacked into memory, since its end is read first."""
    if path.suffix.lower() in PACKED:
        with _unpacked(path) as file:
            return pq.ParquetFile(pa.BufferReader(file.read()))
    return pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)


def _values(table: Any, column: str, first: int, upto: int) -> Iterator[object]:
    """Yield a column's values, a few rows at a time; groups of rows before the first are not read."""
    start = 0
    for group in range(table.num_row_groups):
        n_rows = table.metadata.row_group(group).num_rows
        if start + n_rows > first and start < upto:
            batches = table.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=[column])
            values = (value.as_py() for batch in batches for value in batch.column(0))
            yield from islice(values, max(0, first - start), upto - start)
        start += n_rows


def _lack(column: str) -> str:
    return f"has no text in {column!r}"


def _whole(path: Path, how: How) -> Item:
    try:
        with _unpacked(path) as file:
            text = text_of(path, file.read(), how.encoding)
        return Item(0, without_boilerplate(text, path) if how.boilerplate == "drop" else text)
    except BROKEN as error:
        return _broken(path, 0, error)
    except UserError as error:
        return Item(0, None, UserError(str(error), error.setting or SKIP))


def _item(path: Path, line: int, value: object, lack: str) -> Item:
    """Return the item of a line or row; `lack` says what is wrong where its value is no text."""
    if not isinstance(value, str):
        return Item(line, None, UserError(f"{path}, line {line}, {lack}; mend it, or skip what is no document.", SKIP))
    if not is_whole(value):
        sentence = (
            f"{path}, line {line}, holds half of a character (a surrogate); mend it, or skip what is no document."
        )
        return Item(line, None, UserError(sentence, SKIP))
    return Item(line, value)


def _broken(path: Path, line: int, error: Exception) -> Item:
    where = f"{path} cannot be read from line {line} on" if line > 1 else f"{path} cannot be read"
    return Item(line, None, UserError(f"{where} ({error}); get the file again, or skip the rest of it.", SKIP))
