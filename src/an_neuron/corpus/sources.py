"""Where books come from: the name of a downloaded one, and whether a book is the one that is expected."""

import hashlib
import re
from hashlib import sha256 as sha256_of
from pathlib import Path
from urllib.parse import unquote, urlsplit

from an_neuron.errors import UserError

LOCAL_HOSTS = {"localhost", "127.0.0.1"}


def book_name(url: str, sha256: str | None = None) -> str:
    """Return the file name of a URL's book: a hash of URL and expected checksum, and its own name in plain ASCII.

    So studies of one URL share a file, and another checksum asks for another file.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", unquote(urlsplit(url).path.rpartition("/")[2]))
    # The end is kept, since it holds the suffix; 100 characters fit every file system.
    key = sha256_of(f"{url} {sha256 or ''}".encode()).hexdigest()[:12]
    return f"{key}-{name[-100:] or 'book'}"


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
