"""Fetch a book by URL, once, into a cache that is kept between runs.

pooch streams, retries and checks; this module adds the names in the cache, the checksum recorded where none is given,
the refusal of what nobody could check, and one sentence for each way to fail.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256 as sha256_of
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import pooch
import requests
import urllib3

from an_neuron.errors import UserError

_LOCAL_HOSTS = {"localhost", "127.0.0.1"}
_BY_HAND = "download the file by hand and set `corpus: {file: PATH}` in config.yaml"
# Client errors that go away by themselves; every other 4xx answers the next attempt in the same way.
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def download(
    url: str,
    folder: Path,
    sha256: str | None = None,
    *,
    progressbar: bool = True,
    timeout: float = 30,
    attempts: int = 3,
) -> Path:
    """Return the file behind `url` in the cache `folder`, downloading it unless a checked copy lies there.

    The checksum of a complete download is recorded beside it (``NAME.sha256``, as ``sha256sum --check`` reads it).
    Where `sha256` is not given, later calls hold the file and every new download against that record; a file without
    a record is fetched anew. Nothing in the cache changes until a new download is complete and has the right checksum.

    Parameters
    ----------
    url
        An https:// address. http:// is accepted for this machine's own servers, or where `sha256` is given.
    folder
        The cache; made where missing. Several URLs and several runs may share it.
    sha256
        The expected checksum, 64 hexadecimal digits; it wins over a recorded one.
    progressbar
        Whether to draw a bar on stderr.
    timeout
        Seconds without a byte from the server after which an attempt is given up.
    attempts
        How often to try, each time from the start.

    Returns
    -------
    Path
        `folder` / `cache_name(url)`.

    Raises
    ------
    UserError
        If the URL or checksum is malformed, plain http:// cannot be checked, the server cannot be reached, answers
        with an error, stalls, breaks off or sends nothing, the checksum is not the expected one, or the folder
        cannot be written.
    """
    _refuse_unchecked(url, sha256)
    path = Path(folder) / cache_name(url)
    record = path.with_name(f"{path.name}.sha256")
    with _in_a_sentence(url, path.parent):
        expected = _recorded(record) if sha256 is None else _parsed(sha256, "sha256 in config.yaml")
        if not path.is_file() or pooch.file_hash(path) != expected:
            downloader = _Downloader(url, sha256, progressbar=progressbar, timeout=timeout)
            with _naming_failures(downloader, attempts, expected, record if sha256 is None else None):
                _fetch(downloader, path, record, expected, attempts)
    return path


def cache_name(url: str) -> str:
    """Return the name of `url` in the cache: a short hash of the whole URL, and its file name in plain ASCII."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", unquote(_split(url).path.rpartition("/")[2]))
    # The end is kept, since it holds the suffix; 100 characters fit every file system.
    return f"{sha256_of(url.encode()).hexdigest()[:12]}-{name[-100:] or 'book'}"


class _Downloader(pooch.HTTPDownloader):
    """pooch's downloader, which also refuses empty files and plain redirects, and gives up where no retry helps."""

    def __init__(self, url: str, sha256: str | None, progressbar: bool, timeout: float) -> None:
        def refuse(response: requests.Response, **_: Any) -> None:
            # An https:// server may send us on to http://, which requests would follow.
            _refuse_unchecked(response.url, sha256)
            if 400 <= response.status_code < 500 and response.status_code not in _PASSING:
                raise _failure(url, _answer(response), f"correct the URL, or {_BY_HAND}")

        hooks = {"response": refuse}
        # pooch writes and flushes chunk by chunk: its default of 1 KiB is slow for a book of several MB.
        super().__init__(progressbar=progressbar, chunk_size=2**16, timeout=timeout, hooks=hooks)
        self.url = url
        self.timeout = timeout
        self.received = ""  # SHA-256 of the last complete answer

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> Any:
        self.received = ""
        super().__call__(url, output_file, pooch, check_only)
        self.received = _file_sum(output_file)
        if Path(output_file).stat().st_size == 0:
            raise requests.RequestException("the server sent an empty file")


def _fetch(downloader: _Downloader, path: Path, record: Path, expected: str | None, attempts: int) -> None:
    """Download into a folder inside the cache (the same file system), then rename file and record into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".download-") as work:
        registry, urls = {path.name: expected}, {path.name: downloader.url}
        cache = pooch.Pooch(work, base_url="", registry=registry, urls=urls, retry_if_failed=attempts - 1)
        fresh = Path(cache.fetch(path.name, downloader=downloader))
        note = Path(work) / record.name
        note.write_text(f"{downloader.received}  {path.name}\n", encoding="ascii")
        # pooch's files are private to their owner; in a shared cache the user's umask decides, as it did for the note.
        fresh.chmod(note.stat().st_mode)
        # The record first: stopped between the two, the next call finds a file that fails its checksum, and mends it.
        note.replace(record)
        fresh.replace(path)


def _split(url: str) -> SplitResult:
    """Split an address, or say that it is none."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"https", "http"} and bool(parts.hostname)
    except ValueError:
        valid = False
    if not valid:
        remedy = f"give a complete https:// URL, or {_BY_HAND}"
        raise _failure(repr(url), "it is not an https:// or http:// address", remedy)
    return parts


def _refuse_unchecked(url: str, sha256: str | None) -> None:
    """Refuse plain http:// where neither TLS nor a checksum would show that the book was changed."""
    parts = _split(url)
    if parts.scheme == "http" and sha256 is None and parts.hostname not in _LOCAL_HOSTS:
        reason = "over plain http:// anybody on the way can change the book unnoticed"
        raise _failure(url, reason, "give an https:// URL, or the book's sha256 in config.yaml")


def _parsed(text: str, origin: str) -> str:
    """Return a checksum in lower case, or say that `origin` holds none."""
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise UserError(
            f"{origin} is not a SHA-256 checksum (64 hexadecimal digits) but {text!r}; correct or delete it."
        )
    return text.lower()


def _recorded(record: Path) -> str | None:
    """Return the checksum of the first download, or None before it."""
    if not record.exists():
        return None
    return _parsed(record.read_text(encoding="ascii", errors="replace").partition(" ")[0].strip(), str(record))


def _file_sum(path: str | Path) -> str:
    return str(pooch.file_hash(path))


@contextmanager
def _in_a_sentence(url: str, folder: Path) -> Iterator[None]:
    """Turn what the file system refuses into a UserError."""
    try:
        yield
    except OSError as error:
        reason = f"the folder {folder} cannot be used ({error.strerror or error})"
        raise _failure(url, reason, "make it writable, free space on its disk, or choose another") from error


@contextmanager
def _naming_failures(
    downloader: _Downloader, attempts: int, expected: str | None, record: Path | None
) -> Iterator[None]:
    """Turn what the network and pooch's check refuse into a UserError; `record` is the file that gave `expected`."""
    tries = f"{attempts} attempt{'s' if attempts > 1 else ''}"
    try:
        yield
    except requests.RequestException as error:
        remedy = f"try again later, or {_BY_HAND}"
        raise _failure(downloader.url, f"{_reason(error, downloader)} ({tries})", remedy) from error
    except ValueError as error:
        if expected is None or not downloader.received:
            raise _failure(downloader.url, f"{_one_line(error)} ({tries})", _BY_HAND) from error
        source = f"the first download had (see {record})" if record else "config.yaml expects"
        reason = f"the content has SHA-256 {downloader.received}, but {source} {expected}"
        accept = "or delete that file" if record else "or else correct the URL"
        remedy = f"if the new content is right, give its checksum as sha256 in config.yaml {accept}"
        raise _failure(downloader.url, reason, remedy) from error


def _reason(error: requests.RequestException, downloader: _Downloader) -> str:
    """Say in a clause what went wrong on the network."""
    host = urlsplit(downloader.url).hostname
    cause = error.args[0] if error.args else None
    # Once the body has begun, requests reports a stall as a broken connection.
    if isinstance(error, requests.Timeout) or isinstance(cause, urllib3.exceptions.ReadTimeoutError):
        return f"it timed out: {host} sent nothing for {downloader.timeout:g} s"
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _answer(error.response)
    if isinstance(error, requests.exceptions.SSLError):
        return f"there is no verified TLS connection to {host} ({_one_line(error)})"
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return "it arrived truncated: the connection broke off before the end of the file"
    if isinstance(error, requests.ConnectionError):
        if isinstance(cause, urllib3.exceptions.ProtocolError):
            return f"{host} closed the connection without an answer"
        return f"no connection to {host} (no network or proxy, or the server is down)"
    return _one_line(error)


def _answer(response: requests.Response) -> str:
    return f"the server answered {response.status_code} {response.reason}".rstrip()


def _one_line(error: Exception) -> str:
    """Return the message of `error` on one line, without what another library wraps around it."""
    cause = error.args[0] if error.args else error
    return " ".join(str(getattr(cause, "reason", None) or cause).split()) or type(error).__name__


def _failure(what: str, reason: str, remedy: str) -> UserError:
    return UserError(f"Cannot download {what}: {reason}; {remedy}.")
