"""How figures look: their size, their letters, and how they are titled; for all that is drawn in a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

BASE_FONT = 12
"""Pixels of the letters for which margins and the widths of characters are stated."""


@dataclass(frozen=True)
class Look:
    """How figures look.

    Attributes
    ----------
    width, height
        Pixels of the static files; 96 make an inch, so the default is 178 × 104 mm, the width of a page.
    font_size
        Pixels of the letters; 12 are 9 points in print.
    title
        Whether figures have a title and a line below it; in a paper the caption says it.
    titles
        "quantity" where titles and axes name what is shown, "notebook" where they are the original notebook's.
    """

    width: int = 672
    height: int = 392
    font_size: float = 12
    title: bool = True
    titles: str = "quantity"

    @property
    def scale(self) -> float:
        """The letters' size, in those of `BASE_FONT`."""
        return self.font_size / BASE_FONT


_LOOK: ContextVar[Look] = ContextVar("look", default=Look())  # noqa: B039 (a Look does not change)


def look() -> Look:
    """Return how figures look now."""
    return _LOOK.get()


@contextmanager
def looking(**options: Any) -> Iterator[None]:
    """Let figures look as these attributes of `Look` say, in this block."""
    token = _LOOK.set(Look(**options))
    try:
        yield
    finally:
        _LOOK.reset(token)


@contextmanager
def smaller_letters(share: float) -> Iterator[None]:
    """Let a crowded figure have letters of a share of the usual size, in this block; its margins follow."""
    with looking(**{**asdict(look()), "font_size": share * look().font_size}):
        yield


def named(quantity: str, notebook: str) -> str:
    """Return a title or an axis' name: what is shown, or what the original notebook called it."""
    return notebook if look().titles == "notebook" else quantity
