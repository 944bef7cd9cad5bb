"""What the page's script is given, from tables made by hand."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from an_neuron.errors import DamagedFileError
from an_neuron.files.hdf5 import Table
from an_neuron.page.contexts import recorded_contexts, summarised_contexts
from an_neuron.page.rendering import render
from an_neuron.page.results import Results, Section, link
from an_neuron.page.sections import breadth
from an_neuron.page.sections.breadth import choice_facts, over_corpus, over_pairs, pair_rows
from an_neuron.page.sections.card import association_card, written_tokens
from an_neuron.page.sections.controls import spot_checks
from an_neuron.page.sections.neurons import listed_neurons
from an_neuron.page.sections.places import head_maps, site_maps
from an_neuron.page.values import as_script, packed, quoted, rounded
from an_neuron.study.finding import read_finding

HOSTILE = "</script><img src=x onerror=fail()>"


def table(attributes=None, **datasets):
    return Table(Path("made.h5"), {name: np.array(values) for name, values in datasets.items()}, attributes or {})


def texts(*rows):
    return np.array(rows, dtype=object)


def test_numbers_have_five_digits_and_what_is_not_finite_is_none():
    assert rounded([[0.123456789, 1234567.0], [float("nan"), float("-inf")]]) == [[0.12346, 1234600.0], [None, None]]
    assert rounded(-2.71828, 2) == -2.7
    assert rounded([]) == []


def test_an_array_is_packed_as_float32_row_by_row():
    text = packed(np.array([[1.0, -2.0], [0.5, 0.1]]))
    assert np.frombuffer(base64.b64decode(text), "<f4").tolist() == np.float32([1, -2, 0.5, 0.1]).tolist()


def test_json_ends_no_script_and_is_the_same_for_the_same_data():
    data = {"b": HOSTILE, "a": ["<!--", "é", None]}
    text = as_script(data)
    assert "<" not in text
    assert json.loads(text) == data
    assert text == as_script(dict(reversed(data.items())))
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_script({"a": float("nan")})


def test_tokens_are_quoted_and_line_ends_are_shown():
    assert quoted([" an", "\n", HOSTILE]) == ['" an"', '"↵"', f'"{HOSTILE}"']


def test_maps_share_a_scale_and_leave_out_what_is_before_the_first_difference():
    """Of four positions the prompts differ at the third; 0.5 is the largest absolute value of all maps after it."""
    tokens = {"clean_token": texts(["B", "x", " apple", " y"]), "corrupted_token": texts(["B", "x", " lemon", " y"])}
    one = table(recovery=[[9.0, 0.0, -0.5, 0.25]], **tokens)
    other = table(recovery=[[9.0, 0.0, 0.125, np.nan]], **tokens)
    maps, left_out = site_maps({"one": one, "other": other})
    assert left_out == 2
    assert maps["limit"] == 0.5
    assert [each["z"] for each in maps["maps"]] == [[[-0.5, 0.25]], [[0.125, None]]]
    assert maps["columns"] == [" apple / lemon", " y"]


def test_positions_of_several_prompt_pairs_are_counted_from_the_last():
    tokens = {
        "clean_token": texts(["", "a", "b"], ["c", "d", "b"]),
        "corrupted_token": texts(["", "x", "b"], ["c", "d", "y"]),
    }
    maps, left_out = site_maps({"one": table(recovery=[[0.0, 1.0, 2.0]], **tokens)})
    assert (left_out, maps["columns"]) == (1, ["-1", "last"])


def test_maps_without_any_value_have_no_scale():
    maps = head_maps({"z": table(recovery=[[np.nan, np.nan]])})
    assert (maps["limit"], maps["columns"]) == (None, ["0", "1"])


def test_listed_neurons_by_name():
    of = table(
        top_layer=[2, 0], top_index=[10, 3], top_recovery=[0.75, -0.5], top_change=[1.5, np.nan],
        top_tokens=texts(["An", " an"], ["\t"]), lowered_tokens=texts([" a"], ["<b>"]),
        attributes={"answer": " an", "foil": " a"},
    )  # fmt: skip
    tokens = {
        "2.10": {"raised": ['"An"', '" an"'], "lowered": ['" a"'], "label": ['"An"']},
        "0.3": {"raised": ['"⇥"'], "lowered": ['"<b>"'], "label": []},
    }
    assert listed_neurons(of) == {
        "2.10": {"rank": 1, "recovery": 0.75, "change": 1.5, **tokens["2.10"]},
        "0.3": {"rank": 2, "recovery": -0.5, "change": None, **tokens["0.3"]},
    }


def test_tokens_that_a_neuron_writes_are_the_ends_of_its_dot_products():
    weights = table(W_out_dot_W_U=[0.5, -1.0, 2.0], token=texts("a", "b", "c"))
    assert written_tokens(weights) == {
        "raised": [['"c"', 2.0], ['"a"', 0.5], ['"b"', -1.0]],
        "lowered": [['"b"', -1.0], ['"a"', 0.5], ['"c"', 2.0]],
    }


class Recorded:
    """A row of BOS and 39 tokens, whose ids are their positions, and whose activations are a tenth of them."""

    activation = np.arange(40, dtype=np.float32)[None] / 10

    class Vocabulary:
        def asstr(self):
            return texts(*(f" {number}" for number in range(40)))

    def __init__(self):
        self.file = {"vocabulary": self.Vocabulary()}

    def token_rows(self, rows):
        return {row: list(range(40)) for row in rows}


def test_contexts_are_24_tokens_before_and_8_after_without_bos_and_end_with_the_row():
    early, middle, late = recorded_contexts(table(example_row=[0, 0, 0], example_pos=[3, 30, 39]), Recorded())
    assert early["context"][0] == [" 1", 0.1]
    assert early["context"][early["at"]] == [" 3", 0.3]
    assert len(early["context"]) == 2 + 1 + 8
    assert len(middle["context"]) == 24 + 1 + 8
    assert middle["context"][middle["at"]] == [" 30", 3.0]
    assert late["context"][-1] == late["context"][late["at"]] == [" 39", 3.9]


def test_of_a_summary_the_activation_is_known_at_the_place_alone():
    of = table(
        example_before=texts("It was"), example_token=texts(" an"), example_after=texts("\n"), example_activation=[2.0]
    )
    assert summarised_contexts(of) == [{"context": [["It was", None], [" an", 2.0], ["↵", None]], "at": 1}]


def test_the_card_of_a_neuron_without_a_best_threshold():
    nan = float("nan")
    attributes = {
        "token": " an",
        "signed": 1,
        "direction": "below",
        "n_tokens": 9,
        "occurrences": 2,
        "top_predictions": 0,
    }
    attributes |= {f"best_{name}": nan for name in ("threshold", "precision", "recall", "f1")}
    of = table(
        attributes, bin_edge=[-1.0, 0.0, 1.0], bin_count=[[3, 0], [4, 0]], example_end=texts("lowest"),
        example_activation=[-1.0], example_margin=[0.25], example_next=texts(" b"), example_prediction=texts(" c"),
    )  # fmt: skip
    card = association_card(of, [{"context": [["x", -1.0]], "at": 0}])
    assert (card["f1"], card["signed"], card["above"], card["token"]) == (None, True, False, '" an"')
    assert card["histogram"] == {"edge": [-1.0, 0.0, 1.0], "count": [[3, 0], [4, 0]]}
    assert card["examples"] == [
        {"context": [["x", -1.0]], "at": 0, "end": "lowest", "activation": -1.0, "margin": 0.25, "next": '" b"',
         "prediction": '" c"'},
    ]  # fmt: skip


def test_prompt_pairs_by_part_with_means_and_standard_errors():
    """Held out, the first neuron recovers 0.5 and 0.7: mean 0.6, standard error 0.1; the second is the best once."""
    of = table(
        {"n_tests": 2}, recovery=[[1.0, 0.0], [0.5, 0.25], [0.7, 0.8]], part=texts("development", *["held_out"] * 2),
        layer=[1, 2], index=[5, 10], clean_prompt=texts("a", "b", "c"), corrupted_prompt=texts("d", "e", "f"),
    )  # fmt: skip
    drawn = over_pairs(of)
    assert drawn["names"] == ["1.5", "2.10"]
    development, held_out = drawn["parts"]
    assert (development["mean"], development["standard_error"]) == ([1.0, 0.0], [None, None])
    assert held_out["mean"] == [0.6, 0.525]
    assert held_out["standard_error"][0] == 0.1
    assert held_out["times_best"] == [1, 1]
    assert pair_rows(of)[2] == {"part": "held out", "clean": "c", "corrupted": "f", "recovery": 0.7, "best": "2.10"}


def choice(n_positions):
    attributes = {
        "token": " an",
        "foil": " a",
        "least_expected": 0.2,
        "n_positions": n_positions,
        "n_held": n_positions,
        "n_rows": 2,
        "n_resamples": 10,
        "resampled": "document",
    }
    attributes |= {f"{kind}{end}": 0.5 for kind in ("pearson", "spearman") for end in ("", "_low", "_high")}
    places = {name: np.arange(n_positions) for name in ("activation", "logit_difference", "next")}
    bins = {name: [0.5] for name in ("mean_p_answer", "share_low", "share_high")}
    bins |= {name: [1] for name in ("count", "answers", "answers_or_foils")}
    return table(attributes, **places, **bins, edge=[0.0, 1.0])


def test_many_positions_are_thinned_evenly_and_it_is_said(monkeypatch):
    monkeypatch.setattr(breadth, "SHOWN_POSITIONS", 3)
    assert over_corpus(choice(2))["activation"] == [0, 1]
    assert over_corpus(choice(101))["activation"] == [0, 50, 100]
    assert (choice_facts(choice(101))["drawn"], choice_facts(choice(2))["drawn"]) == (3, 2)


def test_spot_checks_tell_the_difference():
    checked = table(spot_check=texts("clean prompt"), spot_check_logit_difference=[2.0], spot_check_ordinary=[1.75])
    (row,) = spot_checks(checked, "heads")
    assert row == {"sweep": "heads", "what": "clean prompt", "fast": 2.0, "ordinary": 1.75, "difference": 0.25}


def test_the_finding_is_read_as_it_was_told(tmp_path):
    path = tmp_path / "finding.txt"
    path.write_text("One.\nTwo.\n\nWhat is weak, or does not hold:\n- Three.\n", encoding="utf-8")
    assert read_finding(path) == (["One.", "Two."], ["Three."])
    path.write_text("One.\n", encoding="utf-8")
    assert read_finding(path) == (["One."], [])
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(DamagedFileError, match="says nothing"):
        read_finding(path)


def test_links_lead_from_the_page_and_are_addresses():
    results = Results({}, (0, 1), Path("results/a study"), [])
    assert results.link(Path("results/assets/plotly.min.js")) == "../assets/plotly.min.js"
    assert link(Path("results/a study/100%.h5"), Path("results")) == "a%20study/100%25.h5"


def test_no_text_of_a_prompt_or_a_token_is_markup():
    prompt = {"kind": "clean", "tokens": [(HOSTILE, True)], "predicted": [], "difference": 1.0}
    section = Section("prompts", HOSTILE, {"pairs": [[prompt]], "answer": HOSTILE, "foil": HOSTILE})
    page = render(
        "study.html", title=HOSTILE, study=HOSTILE, model=HOSTILE, sentences=[HOSTILE, HOSTILE], sections=[section],
        data=as_script({"prompts": HOSTILE}), plotly="plotly.min.js", formats=["html"],
    )  # fmt: skip
    assert "<img" not in page
    # Twice title, study and heading; model, two sentences, answer, foil and the token.
    assert page.count("&lt;img src=x onerror=fail()&gt;") == 2 * 3 + 6
