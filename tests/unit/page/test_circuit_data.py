"""What the page of a circuit shows, from tables made by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from an_neuron.figures.circuit import AGAINST, HELPS, circuit_fig
from an_neuron.figures.circuit_layout import LOGITS, Edge, all_edges, columns_of, label, places, tokens_at
from an_neuron.files.hdf5 import Table
from an_neuron.page.circuit_page import SECTIONS
from an_neuron.page.results import Results
from an_neuron.page.sections.ablation import ablation_rows, groups
from an_neuron.page.sections.circuit import drawn_circuit, driving_rows, edge_row, lead
from an_neuron.page.sections.together import area_rows, crossings, curves, dose_rows

NAN = float("nan")


def table(attributes=None, **datasets):
    made = {
        name: np.array(values, dtype=object if isinstance(values[0], str) else None)
        for name, values in datasets.items()
    }
    return Table(Path("made.h5"), made, attributes or {})


def texts(*rows):
    return np.array(rows, dtype=object)


@pytest.fixture
def circuit():
    """A token drives a head and, a little, another neuron; the head drives the studied neuron 3.7, which writes."""
    edge = np.zeros((4, 4))
    edge[0, 1], edge[1, 3], edge[0, 2], edge[2, 3] = 0.5, 0.25, 0.015, -0.125
    total, direct = 2 * edge, 1.5 * edge
    direct[0, 2] = NAN
    return table(
        {"neuron_layer": 3, "neuron_index": 7, "answer": " an", "foil": " a"},
        name=texts("resid_pre 0", "head 1.2", "1.5", "3.7"),
        layer=[0, 1, 1, 3],
        site=texts("resid_pre", "z", "post", "post"),
        index=[0, 2, 5, 7],
        position=[-2, -1, -1, -1],
        clean_token=texts(" apple", "\n", "\n", "\n"),
        corrupted_token=texts(" lemon", "\n", "\n", "\n"),
        on_metric=[1.0, 0.25, -0.05, 0.75],
        direct_on_metric=[0.0, 0.005, -0.06, 0.5],
        total=total,
        direct=direct,
        edge=edge,
    )


def test_edges_come_by_strength_and_weak_ones_are_left_out(circuit):
    """Of the paths to the logits the token's (0) and the head's (0.005) are below 0.01."""
    found = [(edge.sender, edge.receiver, round(edge.edge, 3)) for edge in all_edges(circuit)]
    assert found == [
        (0, 1, 0.5),
        (3, LOGITS, 0.5),
        (1, 3, 0.25),
        (2, 3, -0.125),
        (2, LOGITS, -0.06),
        (0, 2, 0.015),
    ]
    assert Edge(0, 1, 0.5, 0.75, 1.0).through_others == 0.25


def test_nodes_stand_by_position_and_layer_and_the_logits_above_the_last(circuit):
    """A row for each layer and site; the last column has more room; a weak node leaves the middle to lines."""
    x, y = places(circuit)
    strong = [abs(effect) >= 0.25 * abs(circuit["on_metric"]).max() for effect in circuit["on_metric"]]
    across = [0.0, 1.5, 1.5, 1.5]
    assert x.tolist() == pytest.approx([*(at + 0.3 * (not one) for at, one in zip(across, strong, strict=True)), 1.5])
    assert y.tolist() == [0.0, 1.0, 2.0, 3.0, 4.4]
    assert columns_of(circuit) == {-2: 0.0, -1: 1.5}
    assert [label(circuit, node) for node in range(4)] == [" apple", "1.2", "1.5", "3.7"]
    assert [tokens_at(circuit, position) for position in (-2, -1)] == [" apple / lemon", "↵"]


def test_the_figure_draws_edges_as_wide_as_they_carry_and_in_the_colour_of_their_sign(circuit):
    """The weakest first; the edge of 0.015 is not drawn, and a token's path by way of others is dotted."""
    lines = [trace.line for trace in circuit_fig(circuit).data if trace.mode == "lines" and trace.line.dash != "dot"]
    widest = 18 * 0.72  # of letters of the usual size, and a share of it where they are smaller
    assert [line.width for line in lines] == pytest.approx([1.0, widest / 8, widest / 4, widest / 2, widest / 2])
    assert [line.color for line in lines] == [AGAINST, AGAINST, HELPS, HELPS, HELPS]


def test_the_drawing_holds_what_the_pointer_tells(circuit):
    drawn = drawn_circuit(circuit, all_edges(circuit))
    assert [node["name"] for node in drawn["nodes"]] == ["token", "head 1.2", "1.5", "3.7"]
    assert drawn["nodes"][3] == {
        "name": "3.7", "label": "3.7", "kind": "neuron", "token": "↵", "x": 1.5, "y": 3.0,
        "total": 0.75, "direct": 0.5, "through_others": 0.25,
    }  # fmt: skip
    assert drawn["logits"]["name"] == 'logit(" an") − logit(" a")'
    assert drawn["columns"] == [{"x": 0.0, "text": " apple / lemon"}, {"x": 1.5, "text": "↵"}]
    assert drawn["layers"] == ["0, embedding", "1, attention", "1, MLP", "3, MLP"]
    assert len(drawn["edges"]) == 5, "the edge of 0.015 is in the table alone"
    assert drawn["edges"][0] == {
        "sender": 0, "receiver": 1, "edge": 0.5, "total": 1.0, "direct": 0.75, "through_others": 0.25,
    }  # fmt: skip


def test_an_edge_as_a_row_and_what_is_not_a_number_in_it(circuit):
    rows = [edge_row(circuit, edge) for edge in all_edges(circuit)]
    assert (rows[1]["sender"]["name"], rows[1]["receiver"]["kind"]) == ("3.7", "logits")
    assert [rows[1][name] for name in ("edge", "total", "direct", "through_others")] == [0.5, 0.75, 0.5, 0.25]
    assert (rows[-1]["total"], rows[-1]["direct"], rows[-1]["through_others"]) == (0.03, None, None)


def test_the_lead_says_what_is_direct_and_what_drives_the_neuron_most(circuit):
    said = "Patched alone, 3.7 recovers 0.75 of the logit difference, and 0.50 by its direct path to the logits."
    assert lead(circuit) == f'{said} Of the direct paths to it, that from head 1.2 at "↵" carries most: 0.25.'
    circuit["edge"][:] = 0
    circuit["direct_on_metric"][3] = -0.5
    assert lead(circuit) == said.replace("0.50", "−0.50")


def test_neurons_below_by_absolute_recovery():
    rows = driving_rows(table(layer=[1, 0, 2], index=[5, 3, 1], recovery=[0.5, 0.25, -0.75], estimate=[0.4, 0.2, -0.5]))
    assert [row["name"] for row in rows] == ["2.1", "1.5", "0.3"]
    assert rows[0] == {"name": "2.1", "recovery": -0.75, "estimate": -0.5}


def test_a_curve_crosses_zero_on_straight_lines():
    """From -1 at 0 to 3 at 2: at 0.5. From 3 back to -1 between 2 and 6: at 5."""
    assert crossings(np.array([0.0, 2.0, 6.0]), np.array([-1.0, 3.0, -1.0])) == [0.5, 5.0]
    assert crossings(np.array([0.0, 1.0]), np.array([1.0, 2.0])) == []
    assert crossings(np.array([0.0, 1.0, 2.0]), np.array([-1.0, 0.0, 1.0])) == [1.0]


def test_doses_of_each_prompt():
    of = table(value=[0.0, 2.0], in_clean=[[1.0, 2.0]], in_corrupted=[[-1.0, 1.0]], clean=[2.0], corrupted=[-1.0],
               clean_activation=[2.0], corrupted_activation=[0.0])  # fmt: skip
    assert dose_rows(of) == [
        {"prompt": "clean", "activation": 2.0, "difference": 2.0, "crossings": []},
        {"prompt": "corrupted", "activation": 0.0, "difference": -1.0, "crossings": [1.0]},
    ]


@pytest.fixture
def together():
    return table(
        kind=texts(*["neurons"] * 3, "heads"),
        ranking=texts(*["exact"] * 3, "exact, absolute"),
        k=[0, 1, 2, 1],
        part=texts("main", "held_out", "held_out"),
        recovery=[[9.0, 0.0, 0.0], [9.0, 0.5, 0.25], [9.0, 1.0, 0.5], [9.0, 0.0, 0.0]],
        faithfulness=[[9.0, 0.0, 0.0], [9.0, 0.25, 0.25], [9.0, 1.0, 1.0], [9.0, 0.0, 0.0]],
        first=texts(["", ""], ["1.5", ""], ["1.5", "3.7"], ["head 1.2", ""]),
    )


def test_curves_are_means_over_held_out_pairs_from_one_node_on_by_signed_effect(together):
    assert curves(together, "held_out") == [
        {"kind": "neurons", "ranking": "exact", "k": [1, 2], "first": ["1.5", "1.5, 3.7"],
         "recovery": [0.375, 0.75], "faithfulness": [0.25, 1.0]},
    ]  # fmt: skip


def test_areas_with_the_first_nodes_of_the_longest_set(together):
    columns = ["cpr_main", "cmd_main", "cpr_held_out", "cmd_held_out", "smallest_recovery", "smallest_left"]
    areas = pd.DataFrame(
        [["neurons", "exact", 2, 0.5, 0.25, NAN, NAN, 0.95, 0.125], ["heads", "exact, absolute", -1, *[NAN] * 6]],
        columns=["kind", "ranking", "smallest", *columns],
    )
    neurons, heads = area_rows(areas, together)
    assert neurons == {
        "kind": "neurons", "ranking": "exact", "smallest": 2, "first": ["1.5", "3.7"], "cpr_main": 0.5,
        "cmd_main": 0.25, "cpr_held_out": None, "cmd_held_out": None, "smallest_recovery": 0.95, "smallest_left": 0.125,
    }  # fmt: skip
    assert (heads["smallest"], heads["cpr_main"], heads["first"]) == (None, None, ["head 1.2"])


def test_ablations_by_what_follows():
    ends = ("loss", "loss_ablated", "loss_change", "loss_change_low", "loss_change_high")
    numbers = dict(
        zip((*ends, "probability", "probability_ablated"), (1.0, 1.5, 0.5, 0.25, NAN, 0.5, 0.25), strict=True)
    )
    row = {"token": repr("\n"), "layer": 3, "index": 7, "n": 4, "n_rows": 2, **numbers}
    summary = pd.DataFrame(
        [{**row, "intervention": "zero", "place": place} for place in ("elsewhere", "token")]
        + [{**row, "intervention": "negated", "place": "foil"}]
    )
    rows = ablation_rows(summary, '" a"')
    assert [(each["done"], each["follows"]) for each in rows] == [
        ("switched off", "another token"), ("switched off", '"↵"'), ("negated", '" a"'),
    ]  # fmt: skip
    assert (rows[0]["neuron"], rows[0]["token"], rows[0]["loss_change_high"]) == ("3.7", '"↵"', None)
    assert [group["follows"] for group in groups(rows)] == ['"↵"', '" a"', "another token"]


def test_what_was_not_built_is_left_out_in_silence():
    nothing = Results({}, (3, 7), Path("results/a"), [])
    made = {name: function(nothing) for name, function in SECTIONS.items()}
    assert {name for name, section in made.items() if section} == {"checked"}
    assert made["checked"].shown == {"rows": [], "files": []}
