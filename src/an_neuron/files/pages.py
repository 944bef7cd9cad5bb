"""Small self-contained pages that show tables."""

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from an_neuron.files.atomic import write_text

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

STYLES: list[Any] = [
    {"selector": "td, th", "props": "padding: 0.2em 0.8em; text-align: left; font: 14px sans-serif"},
    {"selector": "tr:nth-child(even)", "props": "background: #f6f8fa"},
]
HEAD = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 14px sans-serif }} table {{ border-collapse: collapse }} td {{ overflow-wrap: break-word }}</style>
</head>
<body>
<h1>{title}</h1>
"""


@dataclass(frozen=True)
class Section:
    """A part of a page: a heading, a styled table whose cells are escaped, and a sentence; texts are plain."""

    heading: str
    table: "Styler"
    said: str = ""


def write_page(path: Path, table: "Styler", said: str) -> None:
    """Write a table, and a sentence below it, as a page; the same table gives the same bytes.

    Parameters
    ----------
    path
        The page.
    table
        A styled table.
    said
        The sentence, as plain text.
    """
    page = table.hide(axis="index").set_table_styles(STYLES).to_html(table_uuid="table", doctype_html=True)
    write_text(path, f"{page}<p style='font: 14px sans-serif'>{escape(said)}</p>\n")


def write_sections(path: Path, title: str, sections: Iterable[Section]) -> None:
    """Write several tables as a page; the same tables give the same bytes.

    Parameters
    ----------
    path
        The page.
    title
        Its title, as plain text.
    sections
        What it shows, in this order.
    """
    parts = [HEAD.format(title=escape(title))]
    for number, section in enumerate(sections):
        table = section.table.hide(axis="index").set_table_styles(STYLES).to_html(table_uuid=f"table{number}")
        heading = f"<h2>{escape(section.heading)}</h2>\n" if section.heading else ""
        parts.append(heading + table + (f"<p>{escape(section.said)}</p>\n" if section.said else ""))
    write_text(path, "".join(parts) + "</body>\n</html>\n")
