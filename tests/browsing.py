"""Pages in a real browser, as a reader opens them: from a folder, without a network."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from an_neuron.figures.export import find_browser

WIDE, NARROW = {"width": 1300, "height": 900}, {"width": 400, "height": 800}
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


@contextmanager
def started_browser() -> Iterator[Browser]:
    """Start a Chromium, and end it."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
        yield started
        started.close()


@contextmanager
def opener(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open files in windows of their own; at the end nothing was asked for but files, and no script had failed."""
    said, asked, contexts = [], [], []

    def open_file(path: Path, anchor: str = "", drawn: bool = True, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": WIDE, **options})
        context.set_default_timeout(20_000)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.goto(path.as_uri() + anchor)
        if drawn:
            page.wait_for_selector("html[data-figures=drawn]")
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert [address for address in asked if not address.startswith(("file:", "data:", "blob:"))] == []
    assert [text for text in said if "plotly.min.js" not in text and "ERR_FILE_NOT_FOUND" not in text] == []


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
