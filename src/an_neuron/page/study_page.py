"""A study's finding as one page: what to read, to send, to print and to put on a screen. It needs no network."""

from collections.abc import Callable, Mapping
from pathlib import Path

from an_neuron.files.atomic import write_text
from an_neuron.files.schema import Schema
from an_neuron.files.texts import neuron_name, printable
from an_neuron.page.rendering import render
from an_neuron.page.results import Results, Section
from an_neuron.page.sections.breadth import breadth_section
from an_neuron.page.sections.card import card_section
from an_neuron.page.sections.controls import controls_section, provenance_section
from an_neuron.page.sections.neurons import attribution_section, neurons_section
from an_neuron.page.sections.places import drivers_section, places_section
from an_neuron.page.sections.prompts import prompts_section
from an_neuron.page.values import as_script
from an_neuron.study.finding import read_finding

PAGE = Schema("index.html", "the finding as a page: to read, to print, to send with results/assets; needs no network")
SECTIONS: Mapping[str, Callable[[Results], Section | None]] = {
    "prompts": prompts_section,
    "places": places_section,
    "neurons": neurons_section,
    "card": card_section,
    "drivers": drivers_section,
    "breadth": breadth_section,
    "attribution": attribution_section,
    "controls": controls_section,
    "provenance": provenance_section,
}
"""In their order. A section is a function, its template in templates/sections, and, where it draws, one in page.js.

A function whose files a study lacks returns None, and the page has no such section.
"""


def write_study_page(path: Path, results: Results, plotly: Path) -> None:
    """Write a study's page; the same results give the same bytes.

    Parameters
    ----------
    path
        The page.
    results
        What the study built.
    plotly
        plotly.js, which the page loads from where it lies.
    """
    made = [section for function in SECTIONS.values() if (section := function(results))]
    sentences, _ = read_finding(results.path("finding"))
    of = results.table("map").attributes
    write_text(
        path,
        render(
            "study.html",
            title=_title(results),
            study=str(of["study"]),
            model=str(of["model"]),
            sentences=sentences,
            sections=made,
            data=as_script({section.name: section.data for section in made if section.data}),
            plotly=results.link(plotly),
            formats=results.formats,
        ),
    )


def _title(results: Results) -> str:
    """Return the page's title; no line ends within the token."""
    answer = printable(results.table("map").attributes["answer"]).replace(" ", "\N{NO-BREAK SPACE}")
    return f'Neuron {neuron_name(*results.neuron)}, behind "{answer}"'
