"""A study whose neurons are screened: Snakemake for real, on the embedded study, in three jobs of a layer each."""

import json

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect

from an_neuron.files import hdf5

pytestmark = pytest.mark.workflow
SCREEN = {"screen": 40, "sample": 60}
PATCHED = (
    "100 of 384 neurons were patched: the 40 that attribution puts first, or the study names, and 60 of the others, "
    "drawn at random."
)


@pytest.fixture(scope="module")
def screened(settled, tmp_path_factory):
    """The embedded study, screened: only what depends on it is built anew."""
    project = settled.copied(tmp_path_factory.mktemp("screened") / "project")
    project.config["studies"]["orchard"] |= {"sweep": SCREEN}
    jobs = project.jobs("orchard")
    assert (jobs["screen_neurons"], jobs["patch_neurons"], jobs["map_neurons"]) == (1, 3, 1)
    assert not {"tokenize_corpus", "cache_activations", "patch_sites", "patch_heads", "fetch_model"} & {*jobs}
    project.build("orchard", "results/orchard/circuit/areas.csv", "results/orchard/circuit/methods.csv")
    return project


@pytest.fixture(scope="module")
def results(screened):
    return screened.folder / "results" / "orchard"


def test_what_was_not_patched_has_no_value_anywhere(settled, results):
    table = hdf5.read(results / "patching" / "neurons" / "map.h5")
    whole = hdf5.read(settled.folder / "results" / "orchard" / "patching" / "neurons" / "map.h5")
    there = ~np.isnan(table["recovery"])
    assert there.sum() == table["in_float32"].sum() == 100
    assert table["recovery"][there] == pytest.approx(whole["recovery"][there], abs=1e-5)
    counts = {"screened": 40, "drawn": 60, "unmeasured": 284}
    assert {name: table.attributes[name] for name in counts} == counts
    missed = int((np.abs(whole["recovery"][~there]) > table.attributes["least"]).sum())
    assert missed <= table.attributes["at_most"] < 284
    top = pd.read_csv(results / "patching" / "neurons" / "top.csv")
    assert (top["layer"][0], top["index"][0], top["drawn"][0]) == (2, 104, False)
    attribution = hdf5.read(results / "patching" / "neurons" / "attribution.h5")
    assert np.isnan(attribution["exact"]).sum() == 284
    assert np.isfinite(attribution["approximate"]).all()


def test_the_finding_says_so(results):
    text = (results / "finding.txt").read_text(encoding="utf-8")
    assert "the largest of 100 neurons that were patched." in text
    assert PATCHED in text
    assert "- Of the neurons drawn at random none exceeds an absolute recovery of" in text
    assert "of the 284 that were not patched do." in text


def test_the_page_says_so_and_a_neuron_that_was_not_patched_has_a_card(opened, results):
    left_out = np.argwhere(np.isnan(hdf5.read(results / "patching" / "neurons" / "map.h5")["recovery"]))[0]
    name = "{}.{}".format(*left_out)
    page = opened(results / "index.html", anchor=f"#neuron={name}")
    expect(page.locator("#neurons")).to_contain_text(PATCHED)
    expect(page.locator("#top-neurons caption")).to_contain_text("of the 100 that were patched")
    expect(page.locator(f'[data-neuron="{name}"]')).to_contain_text("not patched")
    drawn = page.evaluate('document.getElementById("neurons-map").data.reduce((n, each) => n + each.x.length, 0)')
    assert drawn == 100
    page.evaluate('location.hash = "neuron=2.104"')
    expect(page.locator('[data-neuron="2.104"]')).to_contain_text("number 1 of 100")


def test_curves_rank_what_was_patched_and_methods_are_compared_for_heads(results):
    areas = pd.read_csv(results / "circuit" / "areas.csv").set_index(["kind", "ranking"])
    assert np.isnan(areas.loc["neurons", "exact"]["cpr_main"])
    assert np.isfinite(areas.loc["neurons", "attribution"]["cpr_main"])
    assert "neurons" not in set(pd.read_csv(results / "circuit" / "methods.csv")["kind"])


def test_a_second_run_has_nothing_to_do_and_another_number_screens_anew(screened):
    assert screened.jobs("orchard") == {}
    screened.config["studies"]["orchard"]["sweep"] = {**SCREEN, "sample": 61}
    jobs = screened.jobs("orchard")
    screened.config["studies"]["orchard"]["sweep"] = SCREEN
    assert (jobs["screen_neurons"], jobs["patch_neurons"]) == (1, 3)


def test_the_best_of_those_that_were_patched_is_chosen(screened, tmp_path):
    project = screened.copied(tmp_path / "auto")
    project.config["studies"]["orchard"]["neuron"] = "auto"
    project.build("results/orchard/neuron.json")
    chosen = json.loads((project.folder / "results" / "orchard" / "neuron.json").read_text())
    assert (chosen["layer"], chosen["index"], chosen["patched"], chosen["of"]) == (2, 104, 100, 384)


def test_a_screen_that_leaves_nothing_out_is_refused_before_anything_runs(settled, tmp_path):
    project = settled.copied(tmp_path / "refused")
    project.config["studies"]["orchard"]["sweep"] = {"screen": 324, "sample": 60}
    ran = project.snakemake("orchard")
    assert ran.returncode != 0
    assert (
        "studies.orchard.sweep: screen (324) and sample (60) leave none of 384 neurons out" in ran.stdout + ran.stderr
    )
