"""CONTRIBUTING.md is followed literally: its example stage and figure are added to a copy of the project and built."""

import re

import pytest
from project import ROOT

from an_neuron.files.hdf5 import read

pytestmark = pytest.mark.workflow

BLOCK = re.compile(r"`([\w./]+)` \(([\w ]+)\):\n\n```\w+\n(.*?)```", re.DOTALL)


def follow(project, page):
    """Do what the page says; return which files it touched, by how."""
    touched = {}
    for name, how, text in BLOCK.findall(page):
        path = project.folder / name
        touched[name] = how
        if how == "new":
            assert not path.exists(), f"{name} is no new file"
            path.write_text(text)
        elif how == "at its end":
            path.write_text(path.read_text().rstrip("\n") + "\n\n\n" + text)
        else:
            list_name = how.removeprefix("first in ")
            before, opening, after = path.read_text().partition(f"{list_name} = [\n")
            assert opening, f"{name} has no list {list_name}"
            path.write_text(before + opening + text + after)
    return touched


def test_the_example_stage_and_figure_are_built_as_the_page_says(settled, tmp_path):
    project = settled.copied(tmp_path / "project")
    touched = follow(project, (ROOT / "CONTRIBUTING.md").read_text())
    assert touched == {
        "src/an_neuron/patching/best_neurons.py": "new",
        "workflow/scripts/list_best_neurons.py": "new",
        "workflow/rules/patching.smk": "at its end",
        "src/an_neuron/figures/best_neurons.py": "new",
        "workflow/scripts/plot_best_neurons.py": "new",
        "workflow/report/best_neurons.rst": "new",
        "workflow/rules/figure_list.smk": "first in FIGURES",
    }
    assert set(project.jobs("orchard")) >= {"list_best_neurons", "plot_best_neurons"}
    results = project.folder / "results" / "orchard"
    project.build("results/orchard/figures/html/best_neurons_fig.html")
    best, whole = read(results / "patching/neurons/best.h5"), read(results / "patching/neurons/map.h5")
    assert best["recovery"].max() == whole["recovery"].max()
    assert (best["layer"][best["recovery"].argmax()], best["index"][best["recovery"].argmax()]) == (2, 104)
    assert "Best Neuron of Each Layer" in (results / "figures/html/best_neurons_fig.html").read_text()
