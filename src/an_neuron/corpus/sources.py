"""Where a corpus comes from: which files are read, the name of a downloaded one, whether a book is the expected one."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256 as sha256_of
from pathlib import Path
from urllib.parse import unquote, urlsplit

from an_neuron.errors import DamagedFileError, UserError
from an_neuron.files.sealed import read_json
from an_neuron.model.folder import is_file

LINES, TABLE, WHOLE = "lines", "table", "whole"
KINDS = {".txt": WHOLE, ".html": WHOLE, ".htm": WHOLE, ".jsonl": LINES, ".json": LINES, ".parquet": TABLE}
"""What in a file is a document: a line, a row of the table, or the whole file."""
PACKED = (".gz", ".zst")
DATASET_LIST = "dataset.json"
"""Ends the fetch of a dataset: the list of its files."""
LOCAL_HOSTS = {"localhost", "127.0.0.1"}


def unpacked_name(name: str) -> str:
    """Return a file's name in lower case, without what says that it is compressed."""
    path = Path(name.lower())
    return path.stem if path.suffix in PACKED else path.name


def kind_of(path: str | Path) -> str | None:
    """Return what in a file is a document, by its name; None for a file that is not read."""
    return KINDS.get(Path(unpacked_name(Path(path).name)).suffix)


def corpus_files(patterns: Iterable[str]) -> list[str]:
    """Return the files that paths and patterns mean, in the order of the list, those of a pattern sorted by name.

    Raises
    ------
    UserError
        If a path or pattern means no file, or one that is not read, or a file is meant twice.
    """
    files: list[str] = []
    for pattern in patterns:
        meant = [pattern] if is_file(Path(pattern)) else _matching(Path(pattern))
        if not meant:
            raise UserError(f"there is no file {pattern!r}; give a local file, or a pattern such as texts/*.jsonl.")
        files += meant
    for number, path in enumerate(files):
        if kind_of(path) is None:
            raise UserError(f"{path!r} cannot be read; give files named {', '.join(KINDS)}, also with .gz or .zst.")
        if path in files[:number]:
            raise UserError(f"{path!r} is meant twice; name each file once.")
    return files


def _matching(pattern: Path) -> list[str]:
    """Return the files that a pattern means, sorted by name; none where it is no pattern."""
    try:
        found = list(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
    except (OSError, ValueError, IndexError):  # of pathlib, for what is no pattern
        return []
    return sorted(str(path) for path in found if is_file(path))


def book_name(url: str, sha256: str | None = None) -> str:
    """Return the file name of a URL's book: a hash of URL and expected checksum, and its own name in plain ASCII.

    So studies of one URL share a file, and another checksum asks for another file.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", unquote(urlsplit(url).path.rpartition("/")[2]))
    # The end is kept, since it holds the suffix; 100 characters fit every file system.
    key = sha256_of(f"{url} {sha256 or ''}".encode()).hexdigest()[:12]
    return f"{key}-{name[-100:] or 'book'}"


def dataset_name(source: Mapping[str, str | None]) -> str:
    """Return the folder of a dataset's files: its name, revision and split in plain ASCII, and a hash of all of it."""
    key = sha256_of(repr(sorted(source.items())).encode()).hexdigest()[:12]
    return f"{str(source['name']).replace('/', '--')}@{str(source['revision'])[:8]}-{key}"


def fetched_files(path: str | Path) -> list[str]:
    """Return the files that a fetched dataset's list names, in their order.

    Raises
    ------
    DamagedFileError
        If it is missing or damaged.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise DamagedFileError(path, "lists no files of a dataset")
    return [str(Path(path).parent / name) for name in content["files"]]


def check_address(url: str, sha256: str | None) -> None:
    """Refuse what is no address, and plain http:// where neither TLS nor a checksum would show a changed book.

    Raises
    ------
    UserError
        If the address is none, or the book behind it cannot be checked.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"https", "http"} and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        raise failure(repr(url), "it is not an https:// or http:// address", "give a complete https:// URL")
    if parts.scheme == "http" and sha256 is None and parts.hostname not in LOCAL_HOSTS:
        reason = "over plain http:// anybody on the way can change the book unnoticed"
        raise failure(url, reason, "give an https:// URL, or the book's SHA-256", "corpus: {sha256: …}")


def failure(what: str, reason: str, remedy: str, setting: str = "") -> UserError:
    """Return the error for a book that cannot be downloaded."""
    return UserError(f"Cannot download {what}: {reason}; {remedy}.", setting)


def check_book(path: Path, sha256: str | None) -> None:
    """Refuse a book that is not the expected one, whether it was downloaded or lies in a folder.

    Raises
    ------
    UserError
        If the file's SHA-256 is another than the one given.
    """
    if sha256 is None:
        return
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"The book {path} cannot be read ({error.strerror or error}); make it readable.") from error
    if found != sha256.lower():
        raise UserError(
            f"The book {path} has SHA-256 {found}, not the expected {sha256.lower()}; it has changed, or is another.",
            setting=f"corpus: {{sha256: {found}}}",
        )
