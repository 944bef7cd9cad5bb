"""Figures as all studies but the published one draw them: titles name the quantity, and sizes are those of print."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from figure_reading import arrows, assert_labels_are_inside, frame_of, table_of, titles

from an_neuron.figures.patching import patched_heads_fig, patched_neuron_fig, patched_site_fig
from an_neuron.figures.precision_recall import precision_recall_fig
from an_neuron.figures.prompts import logit_lens_fig
from an_neuron.figures.top_predictions import top_prediction_fig
from an_neuron.files.look import Look, look, looking

SCHEMA = Path(__file__).resolve().parents[3] / "workflow" / "schemas" / "config.schema.yaml"
TOKENS = np.array([["<s>", " apple", " tree"]])


@pytest.fixture(autouse=True)
def _as_in_print(_as_in_the_notebook):
    with looking():
        yield


def lens(values, labels):
    points = {"mean_logit_difference": values, "x": np.arange(len(values)) / 2, "point_label": labels}
    return table_of(
        {name: (np.array(some), "point") for name, some in points.items()}
        | {"model_logit_difference": (np.array([0.3]), "prompt_pair")}
    )


def mlp(recovery):
    tokens = dict.fromkeys(("clean_token", "corrupted_token"), (TOKENS, "prompt_pair", "pos"))
    return table_of({"recovery": (np.array(recovery), "layer", "pos"), **tokens}, site="mlp_out")


def test_defaults_are_those_of_the_schema():
    properties = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))["$defs"]["figures"]["properties"]
    assert Look(**{name: described["default"] for name, described in properties.items()}) == Look()
    assert look() == Look()


@pytest.mark.parametrize(
    ("values", "labels", "mark"),
    [
        ([0.0, 0.5, 0.4, 1.4, 1.0], ["0_pre", "0_mid", "1_pre", "1_mid", "final_post"], (1.5, "attention of layer 1")),
        ([0.0, 0.5, 0.4, 0.5, 1.5], ["0_pre", "0_mid", "1_pre", "1_mid", "final_post"], (2.0, "MLP of layer 1")),
        ([0.0, -1.0, 0.0], ["0_pre", "1_pre", "final_post"], (1.0, "block of layer 1")),  # attention beside the MLP
    ],
)
def test_the_lens_marks_the_largest_rise_and_what_writes_there(values, labels, mark):
    ((x, y, text),) = arrows(logit_lens_fig(lens(values, labels)))
    assert (x, y) == (mark[0], pytest.approx(values[int(2 * mark[0])]))
    assert text == f"Largest rise: +1.00 by the {mark[1]}"


def test_titles_name_recovery_and_a_cell_at_zero_has_no_label():
    figure = patched_site_fig(mlp([[0, 0, 0.5], [0, -0.02, 0]]))
    assert titles(figure) == ("Recovery From Patched MLP Layer", "Token", "Layer")
    assert arrows(figure) == [(2, 0, "Layer 0 MLP: 0.50")]
    table = table_of({"recovery": (np.array([[0.1, 0.6]]), "layer", "d_mlp"), "layer": (np.array([3]), "layer")})
    assert titles(patched_neuron_fig(table, 3)) == (
        "Recovery From Patched Neurons in MLP Layer 3",
        "Neuron",
        "Recovery",
    )


def test_maps_of_heads_can_share_their_colours():
    table = table_of({"recovery": (np.array([[0.1, -0.2]]), "layer", "head")}, site="z")
    axis = patched_heads_fig(table, limit=0.5).layout.coloraxis
    assert (axis.cmin, axis.cmax) == pytest.approx((-0.53, 0.53))  # a little beyond, so that the last tick has room
    assert patched_heads_fig(table).layout.coloraxis.cmax == pytest.approx(0.212)


def test_precision_and_recall_are_steps():
    values = {"threshold": [0.0, 1.0, 2.0], "precision": [0.5, 1.0, np.nan], "recall": [1.0, 0.5, 0.0]}
    best = {"best_threshold": 1.0, "best_precision": 1.0, "best_recall": 0.5, "best_f1": 2 / 3}
    counts = {"top_predictions": 2, "n_tokens": 9, "thresholds": "every activation"}
    table = table_of(
        {name: (np.array(some), "threshold") for name, some in values.items()},
        **{"layer": 1, "index": 2, "token": " an", **best, **counts},
    )
    assert {trace.line.shape for trace in precision_recall_fig(table).data} == {"hv"}


def test_shares_of_few_tokens_are_hollow():
    table = table_of(
        {"bin_edge": (np.array([0.0, 1.0, 2.0]), "edge"), "bin_count": (np.array([[5, 5], [5, 4]]), "bin", "is_top")},
        **{"layer": 1, "index": 2, "token": " an", "top_predictions": 9, "n_tokens": 100},
    )
    figure = top_prediction_fig(table)
    assert list(figure.data[2].marker.symbol) == ["circle", "circle-open"]
    assert figure.layout.title.subtitle.text.replace("<br>", " ").endswith("hollow: fewer than 10 tokens")


def test_larger_letters_have_larger_margins_and_labels_stay_inside():
    small = patched_site_fig(mlp([[0, 0, 0.5], [0, 0.3, 0]]))
    assert frame_of(small).size == (672 - 70 - 92, 392 - 44 - small.layout.margin.b)
    with looking(width=900, height=600, font_size=18):
        large = patched_site_fig(mlp([[0, 0, 0.5], [0, 0.3, 0]]))
        assert large.layout.font.size == 18
        assert large.layout.margin.l == 1.5 * small.layout.margin.l
    assert_labels_are_inside(small)


def test_without_a_title_its_room_is_the_plots():
    with looking(title=False):
        figure = logit_lens_fig(lens([0.0, 1.0], ["0_pre", "final_post"]))
    assert figure.layout.title.text is None
    assert figure.layout.margin.t == 14
