"""Writes figures as PNG, SVG, PDF and HTML; the same figure gives the same bytes.

Static files are drawn by kaleido in a Chrome or Chromium, one for all files of a call. No file needs the network: HTML
holds plotly.js, and MathJax is never loaded.
"""

import asyncio
import logging
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from an_neuron.errors import UserError
from an_neuron.files.atomic import write_bytes, write_text
from an_neuron.files.look import look

if TYPE_CHECKING:
    import plotly.graph_objects as go

    Build = Callable[[bool], go.Figure]
    Drawings = list[tuple[go.Figure | None, str]]

PNG_SCALE = 4
TIMEOUT = 180  # seconds for the static files of a figure, of which a quiet machine needs 3 to 12
ATTEMPTS = 3
PATIENCE = 10  # seconds that a process is given to end its browser, which takes it milliseconds
CONTEXT: Any = get_context("fork")  # nothing is imported anew
STATIC_SUFFIXES = (".png", ".svg", ".pdf")
SUFFIXES = (*STATIC_SUFFIXES, ".html")
RANDOM_ID = re.compile(
    rb"""((?:id="|url\('?#)(?:defs-|topdefs-|clip|legend|g)|class="trace [a-z]+ trace)([0-9a-f]{6})(?![0-9a-f])"""
)
CHANNEL = "choreographer.channels.pipe"
"""The logger of what is read from a browser."""
PDF_DATE = re.compile(rb"(/(?:CreationDate|ModDate) \(D:)\d{14}")
NO_STATIC = "formats: [html]"
NO_BROWSER = (
    "PNG, SVG and PDF figures are drawn by Chrome or Chromium, and none was found{where}: install one (Debian: apt-get "
    "install chromium), or run plotly_get_chrome, or do without them."
)
WITHOUT_WINDOWS = ("chromium-headless-shell", "chrome-headless-shell")
"""Browsers that draw the same and start in two thirds of the time."""

log = logging.getLogger(__name__)


def save_figure(figure: "go.Figure | Build", paths: Iterable[str | Path]) -> None:
    """Write a figure to files; each suffix says the format, and a name never holds half a file.

    Parameters
    ----------
    figure
        A figure, or a function that builds one: it is called with True for PNG, SVG and PDF, with False for HTML.
    paths
        Files that end in .png (of `Look`'s size, at four times that resolution), .svg, .pdf or .html.

    Raises
    ------
    UserError
        If a suffix is none of these, or if a static file is asked for and there is no browser.
    """
    save_figures([figure], paths)


def save_figures(figures: "Sequence[go.Figure | Build]", paths: Iterable[str | Path]) -> None:
    """Write several figures, all static files in one browser; parameters and errors are those of `save_figure`.

    Parameters
    ----------
    figures
        The figures.
    paths
        Equally many files for each figure, one figure's after another's.
    """
    targets = [Path(path) for path in paths]
    for path in targets:
        if path.suffix not in SUFFIXES:
            raise UserError(f"{path} ends in none of {', '.join(SUFFIXES)}, the formats a figure can have.")
    _check_browser(targets)
    each = len(targets) // len(figures)
    files = [targets[start : start + each] for start in range(0, len(targets), each)]
    _save_static([_static(figure, own) for figure, own in zip(figures, files, strict=True)])
    for figure, own in zip(figures, files, strict=True):
        for path in own:
            if path.suffix == ".html":
                _save_html(_built(figure, False), path)


def browser_missing() -> str | None:
    """Return None where static figures can be drawn, else one sentence with the remedies. Starts no browser."""
    found = find_browser()
    if found and shutil.which(found):
        return None
    return NO_BROWSER.format(where=f" at BROWSER_PATH={found}" if found else "")


def find_browser() -> str | None:
    """Return the path of the browser that draws: what BROWSER_PATH names, else one without windows, else any."""
    from choreographer.browsers.chromium import Chromium

    if "BROWSER_PATH" not in os.environ:
        for found in filter(None, map(shutil.which, WITHOUT_WINDOWS)):
            return found
    found_by_name: str | None = Chromium.find_browser(skip_local=False)
    return found_by_name


def _built(figure: "go.Figure | Build", static: bool) -> "go.Figure":
    return figure(static) if callable(figure) else figure


def _save_html(figure: "go.Figure", path: Path) -> None:
    write_text(path, figure.to_html(include_plotlyjs=True, include_mathjax=False, div_id=path.stem))


def _static(figure: "go.Figure | Build", paths: list[Path]) -> "tuple[go.Figure | None, list[Path]]":
    """Return a figure built for its static files, and these; no figure where there are none."""
    static = [path for path in paths if path.suffix in STATIC_SUFFIXES]
    return (_built(figure, True) if static else None), static


def _check_browser(paths: list[Path]) -> None:
    """Refuse static files without a browser, before their figures are computed."""
    missing = browser_missing() if any(path.suffix in STATIC_SUFFIXES for path in paths) else None
    if missing:
        raise UserError(missing, setting=NO_STATIC)


def _save_static(figures: "list[tuple[go.Figure | None, list[Path]]]") -> None:
    paths = [path for _, own in figures for path in own]
    if not paths:
        return
    images = _images([(figure, path.suffix.removeprefix(".")) for figure, own in figures for path in own])
    for path, image in zip(paths, images, strict=True):
        write_bytes(path, LASTING.get(path.suffix, bytes)(image))


def _images(drawings: "Drawings") -> list[bytes]:
    """Draw figures, each in a format, in a process of its own: kaleido waits for ever for a browser that died."""
    for _ in range(ATTEMPTS):
        ours, theirs = CONTEXT.Pipe()
        process = CONTEXT.Process(target=_send_images, args=(ours, theirs, drawings))
        process.start()
        theirs.close()
        try:
            if ours.poll(TIMEOUT * len(drawings)):
                found = ours.recv()
                if isinstance(found, Exception):
                    raise found
                return found
        except EOFError:  # the process itself died
            pass
        finally:
            ours.close()  # on which the process ends, and with it a browser that hangs
            process.join(PATIENCE)
            process.kill()
            process.join()
        log.warning("The browser did not draw the figure; trying again.")
    raise UserError(
        f"The browser did not draw a figure in {ATTEMPTS} attempts; figures in HTML need none.", setting=NO_STATIC
    )


def _send_images(theirs: Connection, pipe: Connection, drawings: "Drawings") -> None:
    """Send images, or the exception that kept them from being drawn.

    Parameters
    ----------
    theirs
        The parent's end of the pipe, of which a fork has a copy: while any is open, nobody sees that the parent ended.
    pipe
        This process' end.
    """
    theirs.close()
    os.setsid()  # a terminal's Ctrl-C is the parent's to handle
    from kaleido import Kaleido

    logging.getLogger(CHANNEL).addFilter(_is_no_farewell)
    kaleido = Kaleido(n=1, timeout=TIMEOUT, mathjax=False, path=find_browser())
    Thread(target=_end_with_parent, args=(pipe, kaleido), daemon=True).start()
    try:
        pipe.send(asyncio.run(_drawn(kaleido, drawings)))
    except Exception as error:
        pipe.send(error)


def _is_no_farewell(record: logging.LogRecord) -> bool:
    """Say whether choreographer logs anything else than that it passes over its browser's last word, "{bye}"."""
    return record.getMessage() != "JSONError decoding message. Ignoring"


def _end_with_parent(pipe: Connection, kaleido: Any) -> None:
    """Wait until the parent's end of a pipe closes, as its death closes it too; then end browser and process."""
    pipe.poll(None)
    browser = getattr(kaleido, "subprocess", None)
    if browser is not None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(browser.pid, signal.SIGKILL)  # choreographer starts it in a session of its own
    os._exit(1)


async def _drawn(kaleido: Any, drawings: "Drawings") -> list[bytes]:
    """Draw figures, each in a format, in one browser."""
    images = []
    async with kaleido:
        for figure, name in drawings:
            scale = PNG_SCALE if name == "png" else 1
            options = {"format": name, "width": look().width, "height": look().height, "scale": scale}
            images.append(await kaleido.calc_fig(figure, opts=options))
    return images


def _with_fixed_ids(svg: bytes) -> bytes:
    """Replace the random ids in an SVG file (of the figure, its traces and its colour bars) by numbers."""
    numbers: dict[bytes, bytes] = {}

    def numbered(found: re.Match[bytes]) -> bytes:
        return found[1] + numbers.setdefault(found[2], b"%06d" % len(numbers))

    return RANDOM_ID.sub(numbered, svg)


def _with_fixed_date(pdf: bytes) -> bytes:
    """Replace the time at which a PDF file was made by one of the same length."""
    return PDF_DATE.sub(rb"\g<1>20000101000000", pdf)


LASTING = {".svg": _with_fixed_ids, ".pdf": _with_fixed_date}
"""What makes the same figure the same bytes, by suffix."""
