"""The files of a corpus and how many items each has, corpus/files.json, by which the corpus is divided into parts."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from an_neuron.corpus.reading import How, Item, count_items, read_items
from an_neuron.corpus.sources import TABLE, kind_of
from an_neuron.errors import DamagedFileError
from an_neuron.files.schema import Schema
from an_neuron.files.sealed import read_json, write_json

FILES = Schema(
    "corpus/files.json",
    "the files that the corpus is read from: a list of objects with path, and items (lines, rows, or 1 for a "
    "whole file; null where they need not be counted, since one job reads all)",
)


@dataclass(frozen=True)
class Listed:
    """A file of the corpus, and how many items it has; None if they were not counted."""

    path: str
    items: int | None


@dataclass(frozen=True)
class Share:
    """Items first:upto of a file, by its number; to its end where upto is None."""

    file: int
    first: int
    upto: int | None


def list_files(paths: Sequence[str], counted: bool) -> list[Listed]:
    """Return the files with their items, which takes a look at every byte of those whose items are lines."""
    if not counted:
        return [Listed(path, None) for path in paths]
    return [Listed(path, count_items(Path(path))) for path in tqdm(paths, desc="count", unit="file", mininterval=2)]


def write_files(path: str | Path, listed: Sequence[Listed]) -> None:
    """Write corpus/files.json."""
    write_json(path, [asdict(one) for one in listed], indent=1)


def read_files(path: str | Path) -> list[Listed]:
    """Read corpus/files.json.

    Raises
    ------
    DamagedFileError
        If it is missing, damaged, or no such list.
    """
    try:
        return [Listed(str(one["path"]), one["items"]) for one in read_json(path)]
    except (TypeError, KeyError) as error:
        raise DamagedFileError(path, "lists no files of a corpus") from error


def shares(listed: Sequence[Listed], part: int, n_parts: int) -> list[Share]:
    """Return what one of so many parts reads; all parts have as many items, give or take one.

    Parameters
    ----------
    listed
        The files; their items were counted if there are several parts.
    part
        Which part, counted from 0.
    n_parts
        How many there are.
    """
    if n_parts == 1:
        return [Share(number, 0, None) for number in range(len(listed))]
    total = sum(file.items or 0 for file in listed)
    begin, end = (number * total // n_parts for number in (part, part + 1))
    found, start = [], 0
    for number, file in enumerate(listed):
        first, upto = max(begin - start, 0), min(end - start, file.items or 0)
        if first < upto:
            found.append(Share(number, first, upto))
        start += file.items or 0
    return found


def items_of(listed: Sequence[Listed], of_part: Sequence[Share], how: How) -> Iterator[tuple[int, Item]]:
    """Yield the items of a part, each with the number of its file."""
    for one in of_part:
        for item in read_items(Path(listed[one.file].path), how, one.first, one.upto):
            yield one.file, item


def text_bytes(listed: Sequence[Listed], of_part: Sequence[Share]) -> int:
    """Return about how many bytes of text a part reads, at least: by the sizes of its files, as they are packed.

    Tables do not count: most of one may be other columns.
    """
    texts = [one for one in of_part if kind_of(Path(listed[one.file].path)) != TABLE]
    sizes = [Path(listed[one.file].path).stat().st_size for one in texts]
    return sum(int(size * _read(one, listed[one.file])) for one, size in zip(texts, sizes, strict=True))


def _read(one: Share, file: Listed) -> float:
    return 1.0 if one.upto is None or not file.items else (one.upto - one.first) / file.items


def number_of_items(of_part: Sequence[Share]) -> int | None:
    """Return how many items a part has; None if they were not counted."""
    ends = [one.upto for one in of_part]
    return None if None in ends else sum((one.upto or 0) - one.first for one in of_part)
