"""Where books come from: the name of a downloaded one."""

import re
from hashlib import sha256 as sha256_of
from urllib.parse import unquote, urlsplit


def book_name(url: str, sha256: str | None = None) -> str:
    """Return the file name of a URL's book: a hash of URL and expected checksum, and its own name in plain ASCII.

    So studies of one URL share a file, and another checksum asks for another file.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", unquote(urlsplit(url).path.rpartition("/")[2]))
    # The end is kept, since it holds the suffix; 100 characters fit every file system.
    key = sha256_of(f"{url} {sha256 or ''}".encode()).hexdigest()[:12]
    return f"{key}-{name[-100:] or 'book'}"
