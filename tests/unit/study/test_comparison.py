"""Small studies whose files are made by hand: a map, a sweep and a choice; the model is the embedded one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from project import ROOT

from an_neuron.errors import UserError
from an_neuron.figures.comparison import read_comparison
from an_neuron.files import sealed
from an_neuron.page.studies_page import write_studies_page
from an_neuron.patching.neuron_map import TopNeurons, write_map
from an_neuron.patching.neuron_sweeps import gather
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweep_files import write_neurons
from an_neuron.study.built import all_built, built
from an_neuron.study.comparison import compare_studies, left_out, summary
from an_neuron.study.study import Study

PUBLISHED = ROOT / "resources" / "published" / "an_neuron.csv"
NAMES = {"answer": " an", "foil": " a", "answer_id": 3, "foil_id": 4}
RAISED = [" an", "An", "<b>", "'", "x"]


def study(name="pear", **changes):
    block = {
        "model": {"folder": str(ROOT / "resources/orchard/model"), "processing": []},
        "prompts": [{"clean": "an apple", "corrupted": "a lemon"}],
        "further_prompts": [],
        "answer": " an",
        "foil": " a",
        "neuron": "auto",
        "associations": [],
        "top": 0,
        "top_k": 5,
        "sweep": {"precision": "highest"},
        "corpus": {},
        "readout": "logits",
    }
    return Study.of(name, block | changes)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def build(of: Study, parts=((0, 1, 2),), choice=(1, 2)):
    """Write the files of a study of three layers of four neurons: 1.2 recovers 0.5 and 0.7 in two prompt pairs."""
    results = Path(of.results)
    neurons = results / "patching" / "neurons"
    clean, corrupted = torch.tensor([2.0, 2.0]), torch.tensor([0.0, 0.0])
    patched = torch.zeros(2, 3, 4)
    patched[:, 1, 2] = torch.tensor([1.0, 1.4])
    paths = [neurons / f"layers_{part[0]}-{part[-1]}.h5" for part in parts]
    for path, part in zip(paths, parts, strict=True):
        sweep = Sweep(clean, corrupted, patched[:, list(part)])
        write_neurons(path, sweep, list(part), NAMES)
    top = TopNeurons([1], [2], [0.6], [-0.3], [RAISED], [RAISED[::-1]])
    write_map(neurons / "map.h5", gather(paths), top, {"study": of.name, "model": "resources/pear"})
    if choice:
        sealed.write_json(results / "neuron.json", dict(zip(("layer", "index"), choice, strict=True)))


def test_nothing_is_built_at_first(folder):
    assert built(study(), 1) is None


def test_a_study_is_built_where_neuron_map_and_sweep_are_there(folder):
    build(study())
    found = built(study(), 1)
    assert (found.study, found.layer, found.index, found.n_layers) == ("pear", 1, 2, 3)
    neurons = "results/pear/patching/neurons"
    assert found.files == [f"{neurons}/map.h5", f"{neurons}/layers_0-2.h5", "results/pear/neuron.json"]


@pytest.mark.parametrize("missing", ["neuron.json", "patching/neurons/map.h5", "patching/neurons/layers_0-2.h5"])
def test_a_study_that_lacks_one_of_them_is_not_built(folder, missing):
    build(study())
    (folder / "results" / "pear" / missing).unlink()
    assert built(study(), 1) is None


def test_a_fixed_neuron_needs_no_choice(folder):
    build(study(), choice=None)
    found = built(study(neuron="1.2"), 1)
    assert (found.layer, found.index) == (1, 2)
    assert "results/pear/neuron.json" not in found.files


def test_the_sweep_is_that_of_the_neurons_layer_and_all_others_must_be_there(folder):
    build(study(), parts=((0,), (1,), (2,)))
    assert built(study(), 3).sweep == "results/pear/patching/neurons/layers_1-1.h5"
    assert built(study(), 1) is None, "with one sweep for all layers the map would be made again"
    (folder / "results/pear/patching/neurons/layers_2-2.h5").unlink()
    assert built(study(), 3) is None


def test_a_study_without_its_model_is_not_built(folder):
    """Snakemake would fetch the model again to make sure of the map."""
    build(study())
    assert built(study(model={"folder": "nowhere", "processing": []}), 1) is None


def test_rows_by_hand(folder):
    build(study())
    measured, published = compare_studies(all_built([study(), study("plum")], 1), PUBLISHED).to_dict("records")
    assert measured == {
        "study": "pear",
        "model": "resources/pear",
        "answer": " an",
        "neuron": "1.2",
        "n_layers": 3,
        "depth": 0.5,
        "recovery": pytest.approx(0.6),
        "standard_error": pytest.approx(0.1),  # of 0.5 and 0.7
        "prompt_pairs": 2,
        "raised": "' an' 'An' '<b>' \"'\" 'x'",
        "source": "measured",
    }
    assert np.isnan(published.pop("standard_error"))
    assert published == {
        "study": "an_neuron",
        "model": "openai-community/gpt2-large",
        "answer": " an",
        "neuron": "31.892",
        "n_layers": 36,
        "depth": pytest.approx(31 / 35, abs=1e-4),
        "recovery": 0.485,
        "prompt_pairs": 1,
        "raised": "",
        "source": "published, not measured here",
    }


def test_a_neuron_that_is_not_in_the_list_has_no_tokens(folder):
    build(study(), choice=(0, 3))
    row = compare_studies(all_built([study()], 1), PUBLISHED).iloc[0]
    assert (row["neuron"], row["recovery"], row["raised"], row["depth"]) == ("0.3", 0, "", 0)


def test_table_is_read_as_it_was_written(folder):
    """A neuron is a text, 2.10 is not 2.1; a token may be called NA; a single prompt pair has no standard error."""
    build(study())
    table = compare_studies(all_built([study()], 1), PUBLISHED).assign(neuron=["2.10", "3.0"], raised=["NA", ""])
    sealed.write_csv("comparison.csv", table)
    read = read_comparison("comparison.csv")
    assert read["neuron"].tolist() == ["2.10", "3.0"]
    assert read["raised"].tolist() == ["NA", ""]
    assert read["answer"].tolist() == [" an", " an"]
    assert read["standard_error"].isna().tolist() == [False, True]


def test_left_out_are_the_studies_without_a_measured_row(folder):
    build(study())
    table = compare_studies(all_built([study()], 1), PUBLISHED)
    absent = left_out(["pear", "plum", "an_neuron"], table)
    assert absent == ["an_neuron", "plum"], "the published row is not the study"
    assert summary(table, absent) == "Measured here: pear. Left out, because they are not built: an_neuron, plum."


def test_page_links_findings_names_what_is_left_out_and_hides_no_markup(folder):
    build(study())
    Path("results/pear/finding.txt").write_text("1.2 <writes> it.\nMore.\n", encoding="utf-8")
    Path("results/pear/index.html").touch()
    found = all_built([study()], 1)
    assert (found[0].finding, found[0].page) == ("1.2 <writes> it.", "results/pear/index.html")
    write_studies_page(Path("results/index.html"), compare_studies(found, PUBLISHED), found, ["plum"], ["html"])
    page = Path("results/index.html").read_text(encoding="utf-8")
    assert "Left out, because they are not built: plum." in page
    assert "published, not measured here" in page
    assert '<a href="pear/index.html">pear</a>' in page
    assert "<p>1.2 &lt;writes&gt; it.</p>" in page
    assert "&#39;&lt;b&gt;&#39;" in page
    assert "<b>" not in page


def test_a_study_without_a_page_has_no_link(folder):
    build(study())
    found = all_built([study()], 1)
    write_studies_page(Path("results/index.html"), compare_studies(found, PUBLISHED), found, [], ["html"])
    page = Path("results/index.html").read_text(encoding="utf-8")
    assert "Its neurons are mapped; its finding is not told yet." in page
    assert "pear/index.html" not in page


def test_without_a_built_study_the_published_row_stands_alone(folder):
    table = compare_studies([], PUBLISHED)
    assert table["study"].tolist() == ["an_neuron"]
    assert summary(table, ["pear"]) == "Measured here: none. Left out, because they are not built: pear."
    assert summary(table, []) == "Measured here: none."


def test_published_values_without_the_neuron_are_refused(folder):
    Path("other.csv").write_text("quantity,published,tolerance,source\nneurons: layer,31,,N\n", encoding="utf-8")
    with pytest.raises(UserError, match="lacks the published quantity 'neurons: best'"):
        compare_studies([], Path("other.csv"))
