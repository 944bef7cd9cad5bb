import csv
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from an_neuron.corpus import examples
from an_neuron.corpus.description import DESCRIPTION
from an_neuron.files import hdf5
from an_neuron.files.schema import Schema

PLACES = {
    "activation": [4.0, 3.0, 1.0],
    "margin": [2.5, -0.125, 0.0],
    "row": [7, 0, 2],
    "pos": [5, 1, 127],
    "before": ["He ate", "", "a & b\n"],
    "token": [" such", "<b>", "\0"],
    "after": [" an apple", "old</b>", ""],
    "next": [" an", "old", ""],
    "prediction": [" an", "</td>", "\n"],
    "document": ["book.html", "book.html", "book.html"],
}


@pytest.fixture
def stored(tmp_path):
    """Write a table and read it back, as the workflow does."""

    def store(places=PLACES, **attributes):
        path = tmp_path / "association.h5"
        values = {f"example_{name}": column for name, column in places.items()}
        schema = Schema(DESCRIPTION.path, "its examples alone", {name: DESCRIPTION[name] for name in values})
        hdf5.write(path, schema, values, {"layer": 31, "index": 892, "token": " an"} | attributes)
        return hdf5.read(path)

    return store


class Cells(HTMLParser):
    """Collects the text of each row's cells, as a browser shows it, and all tags."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.tags, self.in_cell = [], [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self.in_cell:
            self.rows[-1][-1] += data


def page_of(table, tmp_path):
    path = tmp_path / "page" / "examples.html"
    examples.write_examples_html(table, path)
    assert [file.name for file in path.parent.iterdir()] == ["examples.html"]
    return path.read_text(encoding="utf-8")


def test_places_are_ranked_by_activation(stored):
    backwards = {name: values[::-1] for name, values in PLACES.items()}
    frame = examples.examples_frame(stored(backwards))
    columns = ["rank", "activation", "margin", "prediction", "next", "before", "token", "after", "row", "pos"]
    columns.append("document")
    assert list(frame.columns) == columns
    assert frame["rank"].tolist() == [1, 2, 3]
    assert frame["activation"].tolist() == [4.0, 3.0, 1.0]
    assert frame.loc[0, ["prediction", "next", "token", "row", "pos"]].tolist() == [" an", " an", " such", 7, 5]


def test_the_frame_survives_a_csv_file(stored, tmp_path):
    examples.examples_frame(stored()).to_csv(tmp_path / "examples.csv", index=False)
    with (tmp_path / "examples.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["before"] for row in rows] == ["He ate", "", "a & b\n"]
    assert [row["token"] for row in rows] == [" such", "<b>", "\N{SYMBOL FOR NULL}"]


def test_the_page_shows_texts_letter_by_letter(stored, tmp_path):
    cells = Cells(page_of(stored(), tmp_path))
    assert cells.rows == [
        ["Rank", "Activation", "Margin", "Top prediction", "Real next", "Context"],
        ["1", "4.000", "+2.500", '" an"', '" an"', "He ate such an apple"],
        ["2", "3.000", "-0.125", '"</td>"', '"old"', "<b>old</b>"],
        ["3", "1.000", "+0.000", '"↵"', "", "a & b↵\N{SYMBOL FOR NULL}"],
    ]
    assert "b" not in cells.tags
    assert "script" not in cells.tags
    assert "link" not in cells.tags


def test_the_token_at_the_place_is_marked_and_bars_and_red_say_what_the_numbers_do(stored, tmp_path):
    page = page_of(stored(), tmp_path)
    assert "He ate<mark> such</mark> an apple</td>" in page
    assert "<mark>&lt;b&gt;</mark>old&lt;/b&gt;</td>" in page
    for row, share in enumerate((100, 75, 25)):
        start = page.index(f"#T_examples_row{row}_col1 {{")
        assert f"transparent {share}.0%)" in page[start : page.index("}", start)]
    assert "#T_examples_row0_col2 {\n  color: #cf222e" in page
    assert "row1_col2 {" not in page, "a negative margin is not red"
    assert "row2_col2 {" not in page, "a tie is no top prediction"


def test_places_without_activation_have_no_bar(stored, tmp_path):
    page = page_of(stored(PLACES | {"activation": [0.0, -0.25, -1.0]}), tmp_path)
    assert page.count("transparent 0.0%)") == 1, "one rule for all three cells"


def test_markup_in_the_studied_token_stays_text(stored, tmp_path):
    page = page_of(stored(token="<script>{x}"), tmp_path)
    assert "script" not in Cells(page).tags
    assert '"&lt;script&gt;{x}" is the model' in page


def test_the_same_places_give_the_same_bytes(stored, tmp_path):
    assert page_of(stored(), tmp_path) == page_of(stored(), tmp_path)


def test_no_places_at_all_are_said_in_a_sentence(stored, tmp_path):
    page = page_of(stored({name: values[:0] for name, values in PLACES.items()}), tmp_path)
    assert "No place was recorded." in page
    assert "<td" not in page


def test_listing_needs_no_torch():
    code = "import sys, an_neuron.corpus.examples; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


BOTH_ENDS = PLACES | {"activation": [1.0, -4.0, -2.0], "end": ["highest", "lowest", "lowest"]}


def test_both_ends_of_signed_neurons_are_ranked(stored):
    backwards = {name: values[::-1] for name, values in BOTH_ENDS.items()}
    frame = examples.examples_frame(stored(backwards))
    assert list(frame.columns)[:3] == ["rank", "end", "activation"]
    assert frame["rank"].tolist() == [1, 1, 2]
    assert frame["end"].tolist() == ["highest", "lowest", "lowest"]
    assert frame["activation"].tolist() == [1.0, -4.0, -2.0]


def test_each_end_of_signed_neurons_has_a_section_and_a_colour(stored, tmp_path):
    page = page_of(stored(BOTH_ENDS), tmp_path)
    assert page.index("Highest activations</h2>") < page.index("1.000") < page.index("Lowest activations</h2>")
    assert "its bar is blue" in page
    bars = (("highest", 0, examples.BAR_COLOR, 25), ("lowest", 0, "#b8ccf6", 100), ("lowest", 1, "#b8ccf6", 50))
    for end, row, color, share in bars:
        start = page.index(f"#T_examples_{end}_row{row}_col1 {{")
        assert f"{color} {share}.0%" in page[start : page.index("}", start)]
    assert len(Cells(page).rows) == 5, "a head for each end"


def test_one_end_alone_has_no_section(stored, tmp_path):
    page = page_of(stored(), tmp_path)
    assert "<h2>" not in page
    assert examples.NEGATIVE_BAR_COLOR not in page
