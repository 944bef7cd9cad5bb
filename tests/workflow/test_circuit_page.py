"""The page of a small circuit, made by hand, in a real browser; and what `snakemake orchard_circuit` makes of it."""

import csv
import json

import numpy as np
import pytest
from browsing import NARROW, WIDE, overflow
from playwright.sync_api import expect

from an_neuron.corpus.ablations import SUMMARY
from an_neuron.files import hdf5
from an_neuron.page.circuit_page import write_circuit_page
from an_neuron.page.plotly_js import write_plotly
from an_neuron.patching.circuit_files import CIRCUIT, write_graph
from an_neuron.patching.curve_files import AREAS_CSV, CURVES
from an_neuron.patching.dose_response import DOSE_RESPONSE
from an_neuron.patching.drivers import DRIVING_NEURONS

pytestmark = pytest.mark.workflow
HOSTILE = " <img src=x onerror=fail()>&lt;i&gt;</script>"
OF = {"study": "small", "model": "made", "revision": "none", "dtype": "float32", "answer": " an", "foil": HOSTILE}
OF |= {"answer_id": 1, "foil_id": 2, "neuron_layer": 3, "neuron_index": 7, "spot_checks": 2, "rounding": 1e-6}


def circuit(path):
    edge = np.zeros((3, 3))
    edge[0, 1], edge[1, 2] = 0.5, -0.25
    values = {
        "name": ["resid_pre 0", "head 1.2", "3.7"], "layer": [0, 1, 3], "site": ["resid_pre", "z", "post"],
        "index": [0, 2, 7], "position": [-2, -1, -1], "clean_token": [HOSTILE, " picked", " picked"],
        "corrupted_token": [" lemon", " picked", " picked"], "on_metric": [1.0, 0.25, 0.75],
        "direct_on_metric": [0.0, 0.0, 0.5], "edge": edge, "total": 2 * edge, "direct": 1.5 * edge,
    }  # fmt: skip
    hdf5.write(path, CIRCUIT, values, OF)


def driving_neurons(path):
    values = {"layer": [1, 2], "index": [5, 6], "recovery": [0.5, -0.75], "estimate": [0.25, -0.5]}
    said = {"neurons_below": 30, "largest_estimate_left_out": 0.125}
    hdf5.write(path, DRIVING_NEURONS, values, {**OF, **said})


def dose_response(path):
    values = {
        "value": [0.0, 1.0, 2.0], "in_clean": [[1.0, 2.0, 3.0]], "in_corrupted": [[-1.0, 1.0, 2.0]],
        "clean_activation": [2.0], "corrupted_activation": [0.0], "clean": [3.0], "corrupted": [-1.0],
    }  # fmt: skip
    hdf5.write(path, DOSE_RESPONSE, values, OF)


def curves(path):
    measures = {name: [[0.0], [0.5], [1.0]] for name in ("recovery", "left", "faithfulness")}
    first = [[""] * 20, ["3.7", *[""] * 19], ["3.7", "1.5", *[""] * 18]]
    ranked = {"kind": ["neurons"] * 3, "ranking": ["exact"] * 3, "k": [0, 1, 2], "of": [2] * 3}
    hdf5.write(path, CURVES, {**ranked, **measures, "part": ["held_out"], "first": first}, OF)


def areas(path):
    row = dict.fromkeys(AREAS_CSV.fields, 0.5) | {"kind": "neurons", "ranking": "exact", "smallest": 2}
    write_rows(path, [row])


def ablation(path):
    row = dict.fromkeys(SUMMARY.fields, 0.5) | {"token": repr(" an"), "layer": 3, "index": 7, "n": 1234, "n_rows": 9}
    places = ("token", "foil", "elsewhere")
    write_rows(path, [{**row, "intervention": "zero", "place": place} for place in places])


def write_rows(path, rows):
    with path.open("w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


MADE = {
    "circuit": ("circuit.h5", circuit),
    "driving_neurons": ("neurons.h5", driving_neurons),
    "dose_response": ("dose_response.h5", dose_response),
    "curves": ("curves.h5", curves),
    "areas": ("areas.csv", areas),
    "ablation": ("summary.csv", ablation),
}


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results") / "small"
    (folder / "circuit").mkdir(parents=True)
    files = {name: folder / "circuit" / file for name, (file, _) in MADE.items()}
    for name, (_, write) in MADE.items():
        write(files[name])
    files["graph"] = folder / "circuit" / "circuit.json"
    write_graph(files["graph"], hdf5.read(files["circuit"]))
    (folder / "index.html").write_text("<p>The cards.</p>", encoding="utf-8")
    write_plotly(folder.parent / "plotly.js")
    write_circuit_page(folder / "circuit.html", files, ["png"], folder.parent / "plotly.js")
    return folder / "circuit.html"


def place_of(page, x, y):
    """Return where a place of the circuit's drawing is on the screen."""
    page.locator("#circuit-graph").scroll_into_view_if_needed()
    return page.evaluate(
        """([x, y]) => {
            const plot = document.getElementById("circuit-graph"), box = plot.getBoundingClientRect();
            const { xaxis, yaxis } = plot._fullLayout;
            return [box.x + xaxis._offset + xaxis.d2p(x), box.y + yaxis._offset + yaxis.d2p(y)];
        }""",
        [x, y],
    )


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_figure_is_drawn_and_the_page_fits(opened, page_file, viewport, scheme):
    page = opened(page_file, viewport=viewport, color_scheme=scheme, offline=True)
    assert page.locator("main > section").evaluate_all("all => all.map(each => each.id)") == [
        "circuit", "below", "dose", "together", "ablation", "checked",
    ]  # fmt: skip
    expect(page.locator("h1")).to_have_text('The circuit of neuron 3.7, behind " an"')
    plots = page.locator(".plot")
    assert plots.count() == 5
    for number in range(5):
        expect(plots.nth(number).locator(".main-svg").first).to_be_attached()
    assert overflow(page) <= 0
    assert page.locator("img, i").count() == 0, "no token is markup"


def test_the_pointer_tells_every_number_and_a_neuron_is_clicked_for_its_card(opened, page_file):
    """The columns stand at 0 and 1.5; layers 0, 1 and 3 are rows 0 to 2, with a node each."""
    page = opened(page_file)
    label = page.locator("#circuit-graph .hoverlayer")
    page.mouse.move(*place_of(page, 1.5, 2))
    for said in ('3.7 at " picked"', "total 0.750", "direct 0.500", "through others 0.250"):
        expect(label).to_contain_text(said)
    opacity = "document.getElementById('circuit-graph').data.slice(0, 3).map(each => each.opacity)"
    assert page.evaluate(opacity) == [0.6, 0.6, 0.08], "the line that is not 3.7's fades"
    page.mouse.move(*place_of(page, 0.75, 0.5))
    for said in (
        f'token at "{HOSTILE} / lemon" → head 1.2 at " picked"',
        "by this path alone 0.500",
        "total 1.000",
        "direct 0.750",
    ):
        expect(label).to_contain_text(said)
    assert page.evaluate("isNeuron('')") is False, "what heads and tokens open"
    page.mouse.move(*place_of(page, 1.5, 2))  # plotly knows what is clicked once it has said what is there
    expect(label).to_contain_text('3.7 at " picked"')
    page.mouse.click(*place_of(page, 1.5, 2))
    page.wait_for_url("**/index.html#neuron=3.7")


def test_the_keyboard_reaches_the_same_numbers_and_cards(opened, page_file):
    page = opened(page_file)
    rows = page.locator("#edges tbody tr")
    numbers = rows.evaluate_all("all => all.map(row => [...row.cells].slice(4).map(cell => cell.innerText).join(' '))")
    assert numbers == ["0.500 1.000 0.750 0.250", "0.500 0.750 0.500 0.250", "−0.250 −0.500 −0.375 −0.125"]
    page.get_by_label("Search edges").focus()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "3.7":
            break
    assert page.evaluate("document.activeElement.getAttribute('href')") == "index.html#neuron=3.7"
    page.get_by_label("Search edges").fill("logits")
    assert page.locator("#edges tbody tr:visible").count() == 1


def test_works_against_is_dashed_and_of_another_colour(opened, page_file):
    page = opened(page_file)
    lines = page.evaluate(
        """document.getElementById("circuit-graph").data.filter(each => each.mode === "lines" && each.x.length > 1)
            .map(each => [each.line.dash, each.line.width, each.line.color])"""
    )
    assert lines == [["dash", 3.5, "#d55e00"], ["solid", 7, "#009e73"], ["solid", 7, "#009e73"]]


def test_what_the_tables_say(opened, page_file):
    page = opened(page_file)
    expect(page.locator("#below")).to_contain_text("2 of 30 neurons below 3.7 were measured")
    assert page.locator("#driving-neurons tbody td").all_inner_texts()[:3] == ["2.6", "−0.7500", "−0.5000"]
    doses = page.locator("#doses tbody tr td:last-child").all_inner_texts()
    assert doses == ["nowhere here", "0.50"]
    expect(page.locator("#together")).to_contain_text("means over 1 held-out prompt pair.")
    assert page.locator("#areas tbody td").all_inner_texts()[2:5] == ["0.500 (0.500)", "0.500 (0.500)", "2"]
    expect(page.locator("#ablations tbody tr").first).to_contain_text("1,234")
    graph = page.locator("a[download]")
    expect(graph).to_have_attribute("href", "circuit/circuit.json")
    assert json.loads((page_file.parent / "circuit/circuit.json").read_text())["nodes"][-1] == {"id": "logits"}


def test_texts_and_tables_need_no_script(opened, page_file):
    page = opened(page_file, drawn=False, java_script_enabled=False)
    expect(page.locator(".lead")).to_contain_text("Patched alone, 3.7 recovers 0.75 of the logit difference")
    assert page.locator("#edges tbody tr").count() == 3
    expect(page.get_by_role("link", name="The finding")).to_have_attribute("href", "index.html")


@pytest.fixture(scope="module")
def whole(built, tmp_path_factory):
    """The embedded study with its circuit: its project, and the folder of its results."""
    project = built.copied(tmp_path_factory.mktemp("whole") / "project")
    folder = project.folder / "results" / "orchard"
    before = (folder / "index.html").read_bytes()
    project.build("orchard_circuit")
    assert (folder / "index.html").read_bytes() == before
    return project, folder


def test_the_circuit_is_a_page_of_its_own_and_the_findings_page_stays_as_it_is(whole, opened):
    """The target `orchard_circuit` makes both; `orchard`, before or after it, makes neither again."""
    project, folder = whole
    assert project.jobs("orchard") == {}
    assert "write_circuit_page" not in project.jobs("orchard_circuit")
    page = opened(folder / "index.html")
    page.locator("#drivers").get_by_role("link", name="the circuit around 2.104").click()
    page.wait_for_selector("html[data-figures=drawn]")
    expect(page.locator("h1")).to_have_text('The circuit of neuron 2.104, behind " an"')
    page.locator("#edges").get_by_role("link", name="2.104").first.click()
    expect(page.locator("#the-card h3").first).to_have_text("Neuron 2.104")


def test_the_circuit_carries_the_answer_to_the_logits(whole):
    """Of the orchard 2.104 writes " an", and does so directly: nothing lies above it but the logits."""
    _, folder = whole
    table = hdf5.read(folder / "circuit" / "circuit.h5")
    studied = table["name"].tolist().index("2.104")
    assert table["direct_on_metric"][studied] > 0.5
    assert abs(table["direct_on_metric"][studied] - table["on_metric"][studied]) < 1e-4
    assert table.attributes["rounding"] < 1e-3
    graph = json.loads((folder / "circuit" / "circuit.json").read_text(encoding="utf-8"))
    assert "2.104@-1" in [node["id"] for node in graph["nodes"]]
    curves = hdf5.read(folder / "circuit" / "curves.h5")
    both = curves["kind"] == "neurons and heads"
    assert abs(curves["recovery"][both & (curves["k"] == curves["of"])] - 1).max() < 1e-3
    dose = hdf5.read(folder / "circuit" / "dose_response.h5")
    assert dose["in_corrupted"][0][-1] > dose["in_corrupted"][0][0]
    for figure in ("circuit", "recovery_curves", "faithfulness_curves", "dose_response", "driving_neurons", "methods"):
        assert (folder / "figures" / "html" / f"{figure}_fig.html").is_file()


def test_the_neuron_is_needed_where_its_token_follows_and_nowhere_else(whole):
    _, folder = whole
    assert "Loss Over the Corpus Without Layer 2 Neuron 104" in (folder / "figures/html/ablation_fig.html").read_text()
    losses = hdf5.read(folder / "ablation" / "losses.h5")
    assert losses.attributes["way"] == "above"
    assert losses.attributes["spot_check"] < 1e-3
    with (folder / "ablation" / "summary.csv").open(encoding="utf-8") as file:
        rows = [
            row for row in csv.DictReader(file) if (row["token"], row["layer"], row["index"]) == ("' an'", "2", "104")
        ]
    assert len(rows) == 3 * 3
    token, foil, elsewhere = (row for row in rows if row["intervention"] == "zero")
    assert sum(int(row["n"]) for row in (token, foil, elsewhere)) == 543 * 127
    assert float(token["loss_change_low"]) > 1
    assert float(token["logit_difference_change_high"]) < -2
    assert abs(float(foil["loss_change"])) < 0.01
    assert abs(float(elsewhere["loss_change"])) < 0.002
