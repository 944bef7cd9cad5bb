"""The page of the built orchard in a real browser, as a reader opens it: from a folder, without a network."""

import json
import re
import shutil

import pytest
from browsing import NARROW, WIDE, overflow
from playwright.sync_api import expect

pytestmark = pytest.mark.workflow


@pytest.fixture(scope="module")
def page_file(built):
    return built.folder / "results" / "orchard" / "index.html"


@pytest.fixture(scope="module")
def window(browser, page_file):
    """One window that several tests look at, each from where it likes."""
    context = browser.new_context(viewport=WIDE, offline=True)
    context.set_default_timeout(20_000)
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-figures=drawn]")
    yield page
    context.close()


def place_of(page, figure, name):
    """Return where a neuron's point is on the screen, after scrolling to the figure."""
    page.locator(f"#{figure}").scroll_into_view_if_needed()
    return page.evaluate(
        """([figure, name]) => {
            const plot = document.getElementById(figure), box = plot.getBoundingClientRect();
            const { xaxis, yaxis } = plot._fullLayout, trace = plot.data.find(each => each.customdata.includes(name));
            const point = trace.customdata.indexOf(name), x = xaxis.d2p(trace.x[point]), y = yaxis.d2p(trace.y[point]);
            return [box.x + xaxis._offset + x, box.y + yaxis._offset + y];
        }""",
        [figure, name],
    )


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_page_opens_from_a_folder_draws_every_figure_and_fits(opened, page_file, viewport):
    page = opened(page_file, viewport=viewport, offline=True)
    finding = (page_file.parent / "finding.txt").read_text(encoding="utf-8").splitlines()
    expect(page.locator(".lead")).to_have_text(finding[0])
    expect(page.locator("h1")).to_have_text('Neuron 2.104, behind " an"')
    plots = page.locator(".plot")
    assert plots.count() == 9  # sites and heads twice, neurons, histogram, two of the choice, attribution
    for number in range(plots.count()):
        expect(plots.nth(number).locator(".main-svg").first).to_be_attached()
    assert overflow(page) <= 0
    expect(page.locator("#no-plotly")).to_be_hidden()


def test_sections_stand_in_their_order_and_what_the_study_lacks_is_left_out(window):
    names = ["prompts", "places", "neurons", "card", "drivers", "breadth", "attribution", "controls", "provenance"]
    assert window.locator("main > section").evaluate_all("all => all.map(each => each.id)") == names
    assert window.locator("#prompt-pairs").count() == 0  # the orchard has no set of prompt pairs
    assert window.locator("#prompts mark").all_inner_texts() == ["marked", " apple", " lemon"]
    expect(window.locator("#prompts tr.answer .number").first).to_have_text("0.906")


def test_a_neuron_is_named_under_the_pointer_and_clicked_for_its_card(window):
    window.mouse.move(*place_of(window, "neurons-map", "2.104"))
    label = window.locator("#neurons-map .hoverlayer")
    expect(label).to_contain_text("2.104")
    expect(label).to_contain_text("recovery 0.7056")
    window.mouse.click(*place_of(window, "neurons-map", "2.120"))
    expect(window.locator("#the-card h3").first).to_have_text("Neuron 2.120")
    assert window.url.endswith("#neuron=2.120")
    expect(window.locator("#the-card")).to_contain_text("It was not looked at over the corpus.")


def test_the_card_of_the_studied_neuron_shows_tokens_histogram_and_examples(opened, page_file):
    page = opened(page_file, "#neuron=2.104")
    card = page.locator("#the-card")
    expect(card).to_contain_text("0.7056, number 1 of 384")
    expect(card.locator("tr.raised code").first).to_have_text('"Ol"')
    expect(card.locator("#card-histogram-0 .main-svg").first).to_be_attached()
    rows = card.locator("table.examples tbody tr")
    assert rows.count() == 20
    expect(rows.first.locator(".token.at")).to_have_text(" seen")
    expect(rows.first.locator(".token.at")).to_have_attribute("title", "activation 3.760")
    assert rows.first.locator(".token").count() == 24 + 1 + 8


def test_tables_sort_and_search(window):
    table = window.locator("#spot-checks")
    differences = table.locator("tbody tr td:nth-child(5)")
    head = table.get_by_role("button", name="Difference")
    head.click()
    ascending = [float(text) for text in differences.all_inner_texts()]
    assert ascending == sorted(ascending)
    head.click()
    assert [float(text) for text in differences.all_inner_texts()] == sorted(ascending, reverse=True)
    expect(table.locator("th[aria-sort=descending]")).to_have_text("Difference")
    window.get_by_label("Search spot checks").fill("head")
    shown = table.locator("tbody tr:visible").all_inner_texts()
    assert shown
    assert all("head" in text for text in shown)
    window.get_by_label("Search spot checks").fill("")
    assert table.locator("tbody tr:visible").count() == len(ascending)


def test_the_keyboard_reaches_what_the_pointer_does(window):
    window.get_by_label("Search neurons and tokens").focus()
    for _ in range(20):
        window.keyboard.press("Tab")
        if window.evaluate("document.activeElement.textContent") == "2.120":
            break
    window.keyboard.press("Enter")
    expect(window.locator("#the-card h3").first).to_have_text("Neuron 2.120")
    assert window.evaluate("document.activeElement.dataset.neuron") == "2.120"
    window.get_by_label("Neuron, as layer.index").focus()
    window.keyboard.type("1.87")
    window.keyboard.press("Enter")
    expect(window.locator("#the-card h3").first).to_have_text("Neuron 1.87")
    window.get_by_role("button", name="Change").focus()
    window.keyboard.press("Enter")
    expect(window.locator("#top-neurons th[aria-sort=ascending]")).to_have_text("Change")


def test_a_neuron_that_is_none_is_said(opened, page_file):
    page = opened(page_file, "#neuron=7.1", drawn=False)
    expect(page.locator("#the-card")).to_have_text("7.1 is no neuron of this sweep: layers 0 to 2, 0 to 127 in each.")


def test_light_dark_and_paper(window):
    background = "getComputedStyle(document.body).backgroundColor"
    font = "document.getElementById('neurons-map')._fullLayout.font.color"
    light, ink = window.evaluate(background), window.evaluate(font)
    window.emulate_media(color_scheme="dark")
    window.wait_for_function(f"{font} !== '{ink}'")
    assert window.evaluate(background) != light
    window.emulate_media(color_scheme="light")
    window.wait_for_function(f"{font} === '{ink}'")
    assert window.pdf(format="A4").startswith(b"%PDF")
    window.emulate_media(media="print")
    expect(window.locator("nav")).to_be_hidden()
    window.emulate_media(media="screen")


def test_without_plotly_all_but_the_figures_is_there(opened, page_file, tmp_path):
    alone = shutil.copy(page_file, tmp_path / "index.html")
    page = opened(alone, drawn=False)
    expect(page.locator("#no-plotly")).to_contain_text("../assets/plotly.min.js was not found")
    expect(page.locator("#the-card h3").first).to_have_text("Neuron 2.104")
    page.get_by_label("Search neurons and tokens").fill("120")
    assert page.locator("#top-neurons tbody tr:visible").count() == 1


def test_without_scripts_texts_and_tables_are_there(opened, page_file):
    page = opened(page_file, drawn=False, java_script_enabled=False)
    expect(page.locator(".lead")).to_contain_text("Neuron 2.104 of resources/orchard/model")
    expect(page.locator("#find")).to_be_hidden()
    assert page.locator("#top-neurons tbody tr").count() == 2


def test_a_card_that_is_asked_for_while_figures_are_drawn_stops_none(opened, page_file, tmp_path):
    ask = """<script>
        let wrapped;
        Object.defineProperty(window, "Plotly", { get: () => wrapped, set: read => {
            let once = () => { once = null; showCard("0.1", false); };
            wrapped = { ...read, react: (...all) => { once?.(); return read.react(...all); } };
        } });
    </script></body>"""
    folder = tmp_path / "results" / "orchard"
    folder.mkdir(parents=True)
    shutil.copytree(page_file.parents[1] / "assets", folder.parent / "assets")
    text = page_file.read_text(encoding="utf-8")
    (folder / "index.html").write_text(text.replace("</body>", ask), encoding="utf-8")
    page = opened(folder / "index.html")
    expect(page.locator("#the-card h3").first).to_have_text("Neuron 0.1")
    assert page.locator(".plot .main-svg").count() > 0
    assert page.locator(".plot:not(.js-plotly-plot)").count() == 0


def test_no_token_is_markup(opened, page_file, tmp_path):
    """Texts of a hostile tokenizer and corpus, where the page's script puts them."""
    hostile = "<img src=x onerror=fail()>&lt;i&gt;</script>"
    text = page_file.read_text(encoding="utf-8")
    found = re.search(r'(<script type="application/json" id="data">)(.*?)(</script>)', text, re.DOTALL)
    data = json.loads(found[2])
    data["neurons"]["listed"]["2.104"] |= {"raised": [hostile], "lowered": [hostile]}
    data["card"]["written"]["2.104"]["raised"][0][0] = hostile
    of = data["card"]["cards"]["2.104"][0]
    of["token"] = of["examples"][0]["prediction"] = of["examples"][0]["context"][0][0] = hostile
    data["places"]["sites"]["columns"][0] = data["breadth"]["choice"]["answer"] = hostile
    folder = tmp_path / "results" / "orchard"
    folder.mkdir(parents=True)
    shutil.copytree(page_file.parents[1] / "assets", folder.parent / "assets")
    script = json.dumps(data).replace("<", "\\u003c")
    (folder / "index.html").write_text(text[: found.start(2)] + script + text[found.end(2) :], encoding="utf-8")
    page = opened(folder / "index.html")
    page.mouse.move(*place_of(page, "neurons-map", "2.104"))
    expect(page.locator("#neurons-map .hoverlayer")).to_contain_text(hostile)
    expect(page.locator("#the-card h4", has_text="With the token")).to_have_text(f"With the token {hostile}")
    assert page.locator("img, i").count() == 0


def test_the_page_of_all_studies_sorts_and_fits(built, opened, tmp_path):
    project = built.copied(tmp_path / "project")
    project.config["formats"] = ["html"]
    project.build("results/index.html")
    page = opened(project.folder / "results" / "index.html", drawn=False, viewport=NARROW)
    expect(page.get_by_role("link", name="orchard")).to_have_attribute("href", "orchard/index.html")
    expect(page.locator("body")).to_contain_text("recovers 0.71 of the logit difference")
    page.get_by_role("button", name="Recovery").click()
    assert page.locator("tbody tr td:first-child").all_inner_texts() == ["an_neuron", "orchard"]
    assert overflow(page) <= 0
