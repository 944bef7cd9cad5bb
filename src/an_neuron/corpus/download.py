"""Fetch a book by URL.

pooch streams; this module adds attempts, the checksum, the refusal of what nobody could check, and one sentence for
each way to fail.
"""

import re
from functools import partial
from http import HTTPStatus
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests
import urllib3

from an_neuron.corpus.sources import check_address, failure
from an_neuron.errors import UserError
from an_neuron.files.atomic import check_room, replacing
from an_neuron.files.schema import Schema

BOOK = Schema("downloads/books/{book}", "a downloaded book as its server sent it; studies share it")
_BY_HAND = "or download the file by hand"
# Client errors that go away by themselves; every other 4xx answers the next attempt in the same way.
_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


def download(
    url: str,
    path: Path,
    sha256: str | None = None,
    *,
    progressbar: bool = True,
    timeout: float = 30,
    attempts: int = 3,
) -> None:
    """Download a file; `path` does not exist, or stays as it is, until the whole file is there with its checksum.

    Parameters
    ----------
    url
        An https:// address. http:// is accepted for this machine's own servers, or where `sha256` is given.
    sha256
        The expected checksum, 64 hexadecimal digits.
    timeout
        Seconds without a byte from the server after which an attempt is given up.
    attempts
        How often to try, each time from the start.

    Raises
    ------
    UserError
        If the URL or checksum is malformed, plain http:// cannot be checked, the server cannot be reached, answers
        with an error, stalls, breaks off or sends nothing, the checksum is not the expected one, or the file cannot
        be written.
    FullDiskError
        If the disk lacks the room that the server says is needed.
    """
    check_address(url, sha256)
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise UserError(f"{sha256!r} is not a SHA-256 checksum (64 hexadecimal digits).")
    # pooch writes and flushes chunk by chunk: its default of 1 KiB is slow for a book of several MB.
    hooks = {"response": partial(_check_answer, url, sha256, path)}
    fetch = pooch.HTTPDownloader(progressbar=progressbar, chunk_size=2**16, timeout=timeout, hooks=hooks)
    try:
        with replacing(path) as temporary:
            for attempt in range(1, attempts + 1):
                try:
                    fetch(url, str(temporary), None)
                    return _check_content(temporary, sha256)
                except (requests.RequestException, ValueError) as error:
                    if attempt == attempts:
                        raise _explained(error, url, timeout, attempts) from error
                    sleep(attempt)
    except OSError as error:
        reason = f"{path} cannot be written ({error.strerror or error})"
        raise failure(url, reason, "make its folder writable") from error


class _OtherContentError(ValueError):
    """A file whose checksum is not the expected one."""

    def __init__(self, received: str, expected: str) -> None:
        super().__init__(f"the content has SHA-256 {received}, not the expected {expected}")
        self.received = received


def _check_answer(url: str, sha256: str | None, path: Path, response: requests.Response, **_: Any) -> None:
    """Refuse a redirect to plain http:// before it is followed, an answer that no retry changes, too large a file."""
    check_address(response.url, sha256)
    if 400 <= response.status_code < 500 and response.status_code not in _PASSING:
        raise failure(url, _answer(response), f"correct the URL, {_BY_HAND}", "corpus: {file: PATH}")
    length = response.headers.get("Content-Length", "")
    check_room(path, int(length) if length.isdecimal() else 0)


def _check_content(path: Path, sha256: str | None) -> None:
    if path.stat().st_size == 0:
        raise requests.RequestException("the server sent an empty file")
    if sha256 is not None and (received := str(pooch.file_hash(str(path)))) != sha256.lower():
        raise _OtherContentError(received, sha256.lower())


def _explained(error: Exception, url: str, timeout: float, attempts: int) -> UserError:
    """Say in a sentence why the last attempt failed."""
    if isinstance(error, _OtherContentError):
        setting = f"corpus: {{sha256: {error.received}}}"
        return failure(url, str(error), "correct the URL, or if the new content is right its checksum", setting)
    reason = f"{_reason(error, url, timeout)} ({attempts} attempt{'s' if attempts > 1 else ''})"
    return failure(url, reason, f"try again later, {_BY_HAND}", "corpus: {file: PATH}")


def _reason(error: Exception, url: str, timeout: float) -> str:
    """Say in a clause what went wrong on the network."""
    host, cause = urlsplit(url).hostname, error.args[0] if error.args else None
    # Once the body has begun, requests reports a stall as a broken connection.
    if isinstance(error, requests.Timeout) or isinstance(cause, urllib3.exceptions.ReadTimeoutError):
        return f"it timed out: {host} sent nothing for {timeout:g} s"
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
