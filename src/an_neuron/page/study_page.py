"""A study's finding as one page: what to read, to send, to print and to put on a screen. It needs no network."""

from pathlib import Path

from an_neuron.files.schema import Schema
from an_neuron.files.texts import neuron_name
from an_neuron.page.results import Results
from an_neuron.page.sectioned import Sections, quoted_answer, write_sectioned
from an_neuron.page.sections.breadth import breadth_section
from an_neuron.page.sections.card import card_section
from an_neuron.page.sections.controls import controls_section, provenance_section
from an_neuron.page.sections.neurons import attribution_section, neurons_section
from an_neuron.page.sections.places import drivers_section, places_section
from an_neuron.page.sections.prompts import prompts_section
from an_neuron.study.finding import read_finding

PAGE = Schema("index.html", "the finding as a page: to read, to print, to send with results/assets; needs no network")
SECTIONS: Sections = {
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
    sentences, _ = read_finding(results.path("finding"))
    of = results.table("map").attributes
    title = f"Neuron {neuron_name(*results.neuron)}, behind {quoted_answer(of)}"
    said = {"title": title, "study": str(of["study"]), "model": str(of["model"]), "sentences": sentences}
    write_sectioned(path, "study.html", results, plotly, SECTIONS, **said)
