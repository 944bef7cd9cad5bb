"""Where books come from: the name of a downloaded one, and whether a book is the one that is expected."""

import hashlib
import re
from hashlib import sha256 as sha256_of
from pathlib import Path
from urllib.parse import unquote, urlsplit

from an_neuron.errors import UserError


def book_name(url: str, sha256: str | None = None) -> str:
    """Return the file name of a URL's book: a hash of URL and expected checksum, and its own name in plain ASCII.

    So studies of one URL share a file, and another checksum asks for another file.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", unquote(urlsplit(url).path.rpartition("/")[2]))
    # The end is kept, since it holds the suffix; 100 characters fit every file system.
    key = sha256_of(f"{url} {sha256 or ''}".encode()).hexdigest()[:12]
    return f"{key}-{name[-100:] or 'book'}"


def check_book(path: Path, sha256: str | None) -> None:
    """Refuse a book that is not the expected one, whether it was downloaded or lies in a folder.

    Raises
    ------
    UserError
        If the file's SHA-256 is another than the one given.
    """
    if sha256 is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise UserError(
            f"The book {path} has SHA-256 {found}, not the expected {sha256.lower()}; it has changed, or is another.",
            setting=f"corpus: {{sha256: {found}}}",
        )
