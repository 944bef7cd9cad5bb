"""Small self-contained pages that show a table."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from an_neuron import hdf5

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

STYLES: list[Any] = [
    {"selector": "td, th", "props": "padding: 0.2em 0.8em; text-align: left; font: 14px sans-serif"},
    {"selector": "tr:nth-child(even)", "props": "background: #f6f8fa"},
]


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
    with hdf5.replacing(path) as temporary:
        temporary.write_text(f"{page}<p style='font: 14px sans-serif'>{escape(said)}</p>\n", encoding="utf-8")
