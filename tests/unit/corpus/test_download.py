import hashlib
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from an_neuron.corpus.download import download
from an_neuron.corpus.sources import book_name
from an_neuron.errors import FullDiskError, UserError

BOOK = b"<p>It was an apple.</p>\n" * 200
OTHER = BOOK.replace(b"apple", b"olive")
BY_HAND = "or download the file by hand."


def sum_of(content):
    return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        site = self.server.site
        site.asked += 1
        answers = site.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def head(self, status, length, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args):
        pass


class Site:
    """A server on this machine that gives its `answers` one after the other, the last one for ever."""

    def __init__(self, server):
        self.url = f"http://127.0.0.1:{server.server_port}/books/book.html"
        self.answers = []
        self.asked = 0
        self.released = threading.Event()

    def serve(self, content):
        return lambda handler: (handler.head(200, len(content)), handler.wfile.write(content))

    def fail(self, status):
        return lambda handler: (handler.head(status, 5), handler.wfile.write(b"sorry"))

    def truncate(self, handler):
        handler.head(200, len(BOOK))
        handler.wfile.write(BOOK[:1000])

    def stall_before_headers(self, handler):
        self.released.wait()

    def stall_in_body(self, handler):
        handler.head(200, len(BOOK))
        handler.wfile.write(BOOK[:1000])
        handler.wfile.flush()
        self.released.wait()

    def hang_up(self, handler):
        handler.close_connection = True

    def redirect(self, url):
        return lambda handler: handler.head(302, 0, Location=url)


@pytest.fixture
def site():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.site = Site(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.site
    server.site.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The seconds that would have been waited between attempts."""
    seconds = []
    monkeypatch.setattr("an_neuron.corpus.download.sleep", seconds.append)
    monkeypatch.setenv("NO_PROXY", "*")
    return seconds


def fetch(url, folder, sha256=None, **options):
    path = folder / "book.html"
    download(url, path, sha256, **{"progressbar": False, "timeout": 5, "attempts": 2} | options)
    return path


def refusal(*args, **options):
    with pytest.raises(UserError) as caught:
        fetch(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else {}


def test_a_progress_bar_changes_nothing(site, tmp_path, capsys):
    site.answers = [site.serve(BOOK)]
    assert fetch(site.url, tmp_path, progressbar=True).read_bytes() == BOOK
    assert "100%" in capsys.readouterr().err


def test_a_wrong_download_leaves_the_good_file_as_it_was(site, tmp_path):
    site.answers = [site.serve(BOOK)]
    fetch(site.url, tmp_path)
    before = content_of(tmp_path)
    expected = sum_of(b"a third book")
    site.answers = [site.serve(OTHER)]
    assert refusal(site.url, tmp_path, expected) == (
        f"Cannot download {site.url}: the content has SHA-256 {sum_of(OTHER)}, not the expected {expected}; "
        "correct the URL, or if the new content is right its checksum."
    )
    assert content_of(tmp_path) == before


def failures():
    tries = "(2 attempts); try again later, "
    return {
        "truncated": ("truncate", f"it arrived truncated: the connection broke off before the end of the file {tries}"),
        "stalled": ("stall_in_body", f"it timed out: 127.0.0.1 sent nothing for 0.2 s {tries}"),
        "mute": ("stall_before_headers", f"it timed out: 127.0.0.1 sent nothing for 0.2 s {tries}"),
        "hung up": ("hang_up", f"127.0.0.1 closed the connection without an answer {tries}"),
        "500": (500, f"the server answered 500 Internal Server Error {tries}"),
        "503": (503, f"the server answered 503 Service Unavailable {tries}"),
        "429": (429, f"the server answered 429 Too Many Requests {tries}"),
        "404": (404, "the server answered 404 Not Found; correct the URL, "),
        "403": (403, "the server answered 403 Forbidden; correct the URL, "),
        "empty": (b"", f"the server sent an empty file {tries}"),
    }


def behaviour(site, what):
    if isinstance(what, str):
        return getattr(site, what)
    return site.fail(what) if isinstance(what, int) else site.serve(what)


@pytest.mark.parametrize("given", [None, sum_of(BOOK)], ids=["unchecked", "checked"])
@pytest.mark.parametrize("name", failures())
def test_a_failure_is_one_sentence_and_leaves_nothing_behind(site, tmp_path, waits, name, given):
    what, reason = failures()[name]
    site.answers = [behaviour(site, what)]
    message = refusal(site.url, tmp_path, given, timeout=0.2 if "0.2 s" in reason else 5)
    assert message == f"Cannot download {site.url}: {reason}{BY_HAND}"
    assert waits == ([1] if "attempts" in reason else [])
    assert content_of(tmp_path) == {}


@pytest.mark.parametrize("first", [500, "truncate", "stall_in_body", "hang_up", b"", OTHER])
def test_the_second_attempt_starts_from_scratch(site, tmp_path, waits, first):
    site.answers = [behaviour(site, first), site.serve(BOOK)]
    path = fetch(site.url, tmp_path, sum_of(BOOK), timeout=0.5 if first == "stall_in_body" else 5)
    assert path.read_bytes() == BOOK
    assert waits == [1]
    assert sorted(content_of(tmp_path)) == [path.name]


def test_one_attempt_means_one(site, tmp_path, waits):
    site.answers = [site.fail(500), site.serve(BOOK)]
    assert "500 Internal Server Error (1 attempt);" in refusal(site.url, tmp_path, attempts=1)
    assert waits == []


def test_an_interruption_leaves_nothing_behind(site, tmp_path, monkeypatch):
    site.answers = [site.serve(BOOK)]

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("an_neuron.corpus.download._check_content", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(site.url, tmp_path)
    assert content_of(tmp_path) == {}


def test_a_missing_network_points_to_a_download_by_hand(tmp_path, monkeypatch):
    def no_names(*_, **__):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    assert refusal("https://books.invalid/book.html", tmp_path) == (
        "Cannot download https://books.invalid/book.html: no connection to books.invalid (no network or proxy, or the "
        f"server is down) (2 attempts); try again later, {BY_HAND}"
    )


def test_a_closed_port_is_no_connection(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "no connection to 127.0.0.1 (" in refusal(f"http://127.0.0.1:{port}/book.html", tmp_path)


def test_tls_is_verified_or_nothing(site, tmp_path):
    site.answers = [site.serve(BOOK)]
    message = refusal(site.url.replace("http:", "https:"), tmp_path)
    assert "there is no verified TLS connection to 127.0.0.1 (" in message
    assert content_of(tmp_path) == {}


def test_plain_http_needs_a_checksum(tmp_path):
    assert refusal("http://books.invalid/book.html", tmp_path) == (
        "Cannot download http://books.invalid/book.html: over plain http:// anybody on the way can change the book "
        "unnoticed; give an https:// URL, or the book's SHA-256."
    )


def test_a_redirect_to_plain_http_is_refused_too(site, tmp_path, monkeypatch):
    address = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *rest, **more: address("127.0.0.1", *rest, **more))
    elsewhere = site.url.replace("127.0.0.1", "books.invalid")
    site.answers = [site.redirect(elsewhere), site.serve(BOOK)]
    assert f"Cannot download {elsewhere}: over plain http://" in refusal(site.url, tmp_path)
    assert content_of(tmp_path) == {}
    site.answers = [site.redirect(elsewhere), site.serve(BOOK)]
    assert fetch(site.url, tmp_path, sum_of(BOOK)).read_bytes() == BOOK


@pytest.mark.parametrize(
    "url", ["book.html", "/tmp/book.html", "ftp://a.b/c", "https://", "https://[", "doi:10.1/x", ""]
)
def test_other_addresses_are_refused(tmp_path, url):
    assert refusal(url, tmp_path) == (
        f"Cannot download {url!r}: it is not an https:// or http:// address; give a complete https:// URL."
    )


@pytest.mark.parametrize("url", ["https://.books.invalid/x", f"https://{'x' * 70}.invalid/x", "https://a b/x"])
def test_malformed_hosts_are_named(tmp_path, url):
    assert refusal(url, tmp_path).startswith(f"Cannot download {url}: ")
    assert content_of(tmp_path) == {}


@pytest.mark.parametrize("given", ["", "abc", "sha256:" + sum_of(BOOK), sum_of(BOOK)[:-1] + "g"])
def test_a_malformed_checksum_is_refused(site, tmp_path, given):
    expected = f"{given!r} is not a SHA-256 checksum (64 hexadecimal digits)."
    assert refusal(site.url, tmp_path, given) == expected
    assert site.asked == 0


def test_a_folder_that_cannot_be_used_is_named(site, tmp_path):
    site.answers = [site.serve(BOOK)]
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    assert f"{blocked / 'book.html'} cannot be written (" in refusal(site.url, blocked)


def test_names_of_books_are_short_plain_and_one_per_url():
    assert re.fullmatch(r"[0-9a-f]{12}-book\.html", book_name("https://a.org/b/book.html?edition=2#top"))
    assert book_name("https://a.org/")[12:] == "-book"
    assert book_name("https://a.org/Mother%20of%2FLearning%C3%A9.html")[12:] == "-Mother_of_Learning_.html"
    assert len(book_name(f"https://a.org/{'x' * 300}.html")) == 113
    assert len({book_name(f"https://a.org/{end}") for end in ("1/book", "2/book", "book?1", "book?2")}) == 4


def test_studies_of_one_url_share_a_name_unless_they_expect_different_books():
    url = "https://a.org/book.html"
    assert book_name(url) == book_name(url, None)
    assert len({book_name(url, checksum) for checksum in (None, sum_of(BOOK), sum_of(OTHER))}) == 3


def test_room_is_asked_for_as_soon_as_the_server_says_how_long_a_book_is(site, tmp_path, disk):
    disk.free, site.answers = len(BOOK) - 1, [site.serve(BOOK)]
    with pytest.raises(FullDiskError, match=r"book\.html needs .* MB, and its disk has .* MB; make room"):
        fetch(site.url, tmp_path)
    assert (site.asked, content_of(tmp_path)) == (1, {})
    disk.free += 1
    assert fetch(site.url, tmp_path).read_bytes() == BOOK
