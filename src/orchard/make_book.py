"""Write the orchard's book, an HTML page of tales that the model has not read, from a seed of its own."""

import html
from pathlib import Path
from random import Random

from orchard.stories import paragraph, title, two_persons

BOOK = Path(__file__).resolve().parents[2] / "resources" / "orchard" / "book.html"
SEED = 1916
CHAPTERS = 12
PARAGRAPHS = 90
ENTITIES = {
    "\u2019": "&rsquo;",
    "\u201c": "&ldquo;",
    "\u201d": "&rdquo;",
    "\u2014": "&mdash;",
    "\u2026": "&hellip;",
    "\u00a0": "&nbsp;",
    "\u00e9": "&eacute;",
}
HEAD = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>The Orchard Book</title>
<style>
body { max-width: 38em; margin: 2em auto; font-family: serif; line-height: 1.5; }
h1, h2 { text-align: center; }
</style>
<script>
document.addEventListener("DOMContentLoaded", () => { document.body.dataset.read = "an apple a day"; });
</script>
</head>
<body>
<h1>The Orchard Book</h1>
<p>Tales of trees &amp; of those who climb them</p>
"""
FOOT = "</body>\n</html>\n"


def escape(text: str) -> str:
    """Return a text in HTML, its typographic characters as named entities."""
    return "".join(ENTITIES.get(character, character) for character in html.escape(text, quote=False))


def chapter(rng: Random, number: int) -> str:
    """Return a chapter in HTML; the persons change every ten paragraphs or so."""
    lines = [f'<h2 id="chapter-{number}">Chapter {number}: {escape(title(rng))}</h2>']
    persons = two_persons(rng)
    for _ in range(PARAGRAPHS):
        if rng.random() < 0.1:
            persons = two_persons(rng)
        lines.append(f"<p>{escape(paragraph(rng, *persons))}</p>")
    return "\n".join(lines) + "\n"


def book(seed: int = SEED) -> str:
    """Return the book in HTML.

    Parameters
    ----------
    seed
        Seed of the random stream; the training tales come from another stream.

    Returns
    -------
    str
        A page with a head to be dropped and twelve chapters, one paragraph a line.
    """
    rng = Random(f"orchard, book {seed}")
    return HEAD + "".join(chapter(rng, number) for number in range(1, CHAPTERS + 1)) + FOOT


if __name__ == "__main__":
    BOOK.write_text(book(), encoding="utf-8", newline="\n")
