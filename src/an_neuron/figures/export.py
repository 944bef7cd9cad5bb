"""Writes figures as PNG, SVG and HTML; the same figure gives the same bytes.

Static files are drawn by kaleido in a Chrome or Chromium, one for all files of a call. No file needs the network: HTML
holds plotly.js, and MathJax is never loaded.
"""

import asyncio
import logging
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from an_neuron.errors import UserError
from an_neuron.files.atomic import replacing

if TYPE_CHECKING:
    import plotly.graph_objects as go

    Build = Callable[[bool], go.Figure]

WIDTH, HEIGHT = 1048, 512  # pixels, as the notebook's PNG files
PNG_SCALE = 4
TIMEOUT = 180  # seconds for the static files of a figure, of which a quiet machine needs 3 to 12
ATTEMPTS = 3
CONTEXT: Any = get_context("fork")  # nothing is imported anew
STATIC_SUFFIXES = (".png", ".svg")
SUFFIXES = (*STATIC_SUFFIXES, ".html")
RANDOM_ID = re.compile(
    rb"""((?:id="|url\('?#)(?:defs-|topdefs-|clip|legend|g)|class="trace [a-z]+ trace)([0-9a-f]{6})(?![0-9a-f])"""
)
NO_STATIC = "formats: [html]"
NO_BROWSER = (
    "PNG and SVG figures are drawn by Chrome or Chromium, and none was found{where}: install one (Debian: apt-get "
    "install chromium), or run plotly_get_chrome, or do without them."
)

log = logging.getLogger(__name__)


def save_figure(figure: "go.Figure | Build", paths: Iterable[str | Path]) -> None:
    """Write a figure to files; each suffix says the format, and a name never holds half a file.

    Parameters
    ----------
    figure
        A figure, or a function that builds one: it is called with True for PNG and SVG, with False for HTML.
    paths
        Files that end in .png (1048 × 512 pixels, at four times that resolution), .svg (1048 × 512) or .html.

    Raises
    ------
    UserError
        If a suffix is none of these, or if a static file is asked for and there is no browser.
    """
    targets = [Path(path) for path in paths]
    for path in targets:
        if path.suffix not in SUFFIXES:
            raise UserError(f"{path} ends in none of {', '.join(SUFFIXES)}, the formats a figure can have.")
    static = [path for path in targets if path.suffix in STATIC_SUFFIXES]
    if static:
        _save_static(_built(figure, True), static)
    for path in targets:
        if path.suffix == ".html":
            _save_html(_built(figure, False), path)


def browser_missing() -> str | None:
    """Return None where static figures can be drawn, else one sentence with the remedies. Starts no browser."""
    from choreographer.browsers.chromium import Chromium

    found = Chromium.find_browser(skip_local=False)
    if found and shutil.which(found):
        return None
    return NO_BROWSER.format(where=f" at BROWSER_PATH={found}" if found else "")


def _built(figure: "go.Figure | Build", static: bool) -> "go.Figure":
    return figure(static) if callable(figure) else figure


def _save_html(figure: "go.Figure", path: Path) -> None:
    with replacing(path) as temporary:
        figure.write_html(temporary, include_plotlyjs=True, include_mathjax=False, div_id=path.stem)


def _save_static(figure: "go.Figure", paths: list[Path]) -> None:
    missing = browser_missing()
    if missing:
        raise UserError(missing, setting=NO_STATIC)
    images = _images(figure, [path.suffix.removeprefix(".") for path in paths])
    for path, image in zip(paths, images, strict=True):
        with replacing(path) as temporary:
            temporary.write_bytes(_with_fixed_ids(image) if path.suffix == ".svg" else image)


def _images(figure: "go.Figure", formats: list[str]) -> list[bytes]:
    """Draw a figure in each format, in a process of its own: kaleido waits for ever for a browser that died."""
    for _ in range(ATTEMPTS):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_send_images, args=(theirs, figure, formats))
        process.start()
        theirs.close()
        try:
            if ours.poll(TIMEOUT):
                found = ours.recv()
                if isinstance(found, Exception):
                    raise found
                return found
        except EOFError:  # the process itself died
            pass
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid or 0, signal.SIGKILL)  # and with it a browser that hangs
            process.join()
        log.warning("The browser did not draw the figure; trying again.")
    raise UserError(
        f"The browser did not draw a figure in {ATTEMPTS} attempts; figures in HTML need none.", setting=NO_STATIC
    )


def _send_images(pipe: Connection, figure: "go.Figure", formats: list[str]) -> None:
    """Send images, or the exception that kept them from being drawn."""
    os.setsid()  # a process group of its own, with the browser in it
    try:
        pipe.send(asyncio.run(_drawn(figure, formats)))
    except Exception as error:
        pipe.send(error)


async def _drawn(figure: "go.Figure", formats: list[str]) -> list[bytes]:
    """Draw a figure in each format, in one browser."""
    from kaleido import Kaleido

    images = []
    async with Kaleido(n=1, timeout=TIMEOUT, mathjax=False) as kaleido:
        for name in formats:
            scale = PNG_SCALE if name == "png" else 1
            options = {"format": name, "width": WIDTH, "height": HEIGHT, "scale": scale}
            images.append(await kaleido.calc_fig(figure, opts=options))
    return images


def _with_fixed_ids(svg: bytes) -> bytes:
    """Replace the random ids in an SVG file (of the figure, its traces and its colour bars) by numbers."""
    numbers: dict[bytes, bytes] = {}

    def numbered(found: re.Match[bytes]) -> bytes:
        return found[1] + numbers.setdefault(found[2], b"%06d" % len(numbers))

    return RANDOM_ID.sub(numbered, svg)
