"""A page of sections: what the pages of a study have in common."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from an_neuron.files.atomic import write_text
from an_neuron.files.texts import printable
from an_neuron.page.rendering import render
from an_neuron.page.results import Results, Section
from an_neuron.page.values import as_script

Sections = Mapping[str, Callable[[Results], Section | None]]
"""In their order. A section is a function, its template in templates/sections, and, where it draws, one in a script.

A function whose files a study lacks returns None, and the page has no such section.
"""


def write_sectioned(
    path: Path, template: str, results: Results, plotly: Path, sections: Sections, **said: str | Sequence[str]
) -> None:
    """Write a page of sections; the same results give the same bytes.

    Parameters
    ----------
    path
        The page.
    template
        Its template.
    results
        What the study built.
    plotly
        plotly.js, which the page loads from where it lies.
    sections
        The page's sections.
    said
        title, study, model, and the sentences that stand above the sections.
    """
    made = [section for function in sections.values() if (section := function(results))]
    data = as_script({section.name: section.data for section in made if section.data})
    shown = {"sections": made, "data": data, "plotly": results.link(plotly), "formats": results.formats}
    write_text(path, render(template, **shown, **said))


def quoted_answer(of: Mapping[str, Any]) -> str:
    """Return the answer in quotes, for a title; no line ends within it."""
    answer = printable(of["answer"]).replace(" ", "\N{NO-BREAK SPACE}")
    return f'"{answer}"'
