import numpy as np
import pytest
from figure_reading import arrows, assert_labels_are_clear, table_of, titles

from an_neuron.figures import patching


def site(name, recovery, clean, corrupted):
    recovery = np.array(recovery)
    return table_of(
        {
            "recovery": (recovery, "layer", "pos"),
            "recovery_per_prompt_pair": (np.stack([recovery] * len(clean)), "prompt_pair", "layer", "pos"),
            "clean_token": (np.array(clean), "prompt_pair", "pos"),
            "corrupted_token": (np.array(corrupted), "prompt_pair", "pos"),
        },
        site=name,
        answer=" an",
        foil=" a",
    )


CLEAN = [["<|endoftext|>", "\n", " apple", " tree"]]
CORRUPTED = [["<|endoftext|>", "\n", " lemon", " tree"]]
RECOVERY = [[0.0, 0.0, 0.9, 0.2], [0.0, 0.0, 0.1, -0.02], [0.0, 0.0, -0.3, 0.5]]


@pytest.mark.parametrize(
    ("name", "title", "marks"),
    [
        ("resid_pre", "Logit Difference From Patched Residual Stream", []),
        ("attn_out", "Logit Difference From Patched Attention Layer", [(2, 0, "Recovery peaks at 0.90 (layer 0)")]),
        (
            "mlp_out",
            "Logit Difference From Patched MLP Layer",
            [
                (2, 0, "Significant Logit Diff. for Layer 0 MLP: 0.90"),
                (3, 2, "Significant Logit Diff. for Layer 2 MLP: 0.50"),
            ],
        ),
    ],
)
def test_heat_maps_have_the_notebooks_titles_and_mark_their_strongest_cells(name, title, marks):
    figure = patching.patched_site_fig(site(name, RECOVERY, CLEAN, CORRUPTED))
    assert titles(figure) == (title, "Token", "Layer")
    assert arrows(figure) == marks
    assert figure.layout.coloraxis.cmid == 0
    red, blue = figure.layout.coloraxis.colorscale[0][1], figure.layout.coloraxis.colorscale[-1][1]
    assert (red, blue) == ("rgb(103,0,31)", "rgb(5,48,97)")
    assert figure.layout.coloraxis.colorbar.title.text == "Recovery"
    bottom, top = figure.layout.yaxis.range
    assert bottom > top, "layer 0 is at the top"
    assert np.asarray(figure.data[0].z) == pytest.approx(np.array(RECOVERY))


def test_heat_map_names_positions_and_their_replacements():
    figure = patching.patched_site_fig(site("resid_pre", RECOVERY, CLEAN, CORRUPTED))
    assert list(figure.data[0].x) == ["0. '&lt;|endoftext|'", "1. '↵'", "2. ' apple'", "3. ' tree'"]
    hover = figure.data[0].customdata
    assert hover[1][2] == "2. ' apple' (corrupted: ' lemon')"
    assert hover[0][3] == "3. ' tree'"


def test_heat_map_of_unequal_prompts_shows_where_they_differ_and_leaves_gaps():
    clean = [["", "", " apple", " tree"], ["<|endoftext|>", "\n", " orange", " tree"]]
    corrupted = [["", "", " lemon", " tree"], ["<|endoftext|>", "\n", " lemon", " tree"]]
    recovery = [[np.nan, 0.0, 0.01, 0.02], [np.nan, 0.0, 0.03, 0.04]]
    figure = patching.patched_site_fig(site("mlp_out", recovery, clean, corrupted))
    assert list(figure.data[0].x) == ["0. '&lt;|endoftext|'", "1. '↵'", "2. ' apple'…", "3. ' tree'"]
    assert figure.data[0].customdata[0][2] == "2. ' apple', ' orange' (corrupted: ' lemon')"
    assert arrows(figure) == [(3, 0, "Layer 0 MLP: 0.02"), (3, 1, "Layer 1 MLP: 0.04")]


def test_heat_map_labels_stay_inside_at_the_edges():
    recovery = np.zeros((36, 4))
    recovery[0, 3], recovery[35, 0] = 0.9, 0.8
    figure = patching.patched_site_fig(site("mlp_out", recovery, CLEAN, CORRUPTED))
    assert len(arrows(figure)) == 2
    assert_labels_are_clear(figure)


def neurons(recovery):
    """Return a sweep of two layers, the second of which, 31, has this recovery."""
    recovery = np.array(recovery)
    both = np.stack([2 * recovery, recovery])
    datasets = {"recovery": (both, "layer", "d_mlp"), "layer": (np.array([30, 31]), "layer")}
    return table_of(datasets, answer=" an", foil=" a")


def test_published_neuron_stands_out():
    recovery = np.zeros(5120)
    recovery[892], recovery[4799], recovery[1912] = 0.485, 0.006, -0.0178
    figure = patching.patched_neuron_fig(neurons(recovery), 31)
    assert titles(figure) == ("Logit Difference From Patched Neurons in MLP Layer 31", "Neuron", "Patch Improvement")
    assert arrows(figure) == [(892, pytest.approx(0.485), "Neuron 892 stands out")]
    assert list(figure.data[0].x) == list(range(5120))
    assert_labels_are_clear(figure)


@pytest.mark.parametrize(
    ("recovery", "text"),
    [
        ([0.1, 0.12, 0.0], "Neuron 1: 0.12"),
        ([0.1, 0.16, 0.0], "Neuron 1 stands out"),
        ([-0.3, -0.1, -0.2], "Neuron 1: -0.10"),
        ([-0.1, 0.1, -0.2], "Neuron 1 stands out"),
    ],
)
def test_a_neuron_stands_out_only_at_one_and_a_half_times_the_second(recovery, text):
    figure = patching.patched_neuron_fig(neurons(recovery), 31)
    assert arrows(figure) == [(1, pytest.approx(recovery[1]), text)]


def heads(recovery, site="z"):
    return table_of({"recovery": (np.array(recovery), "layer", "head")}, site=site, answer=" an", foil=" a")


@pytest.mark.parametrize(
    ("site", "word"),
    [
        ("z", "Outputs (z)"),
        ("q", "Queries (q)"),
        ("k", "Keys (k)"),
        ("v", "Values (v)"),
        ("pattern", "Patterns (pattern)"),
    ],
)
def test_heads_are_a_heat_map_named_after_the_patched_site(site, word):
    figure = patching.patched_heads_fig(heads([[0.0, 0.1], [0.2, 0.0]], site))
    assert titles(figure) == (f"Logit Difference From Patched Attention Heads: {word}", "Head", "Layer")
    assert figure.layout.coloraxis.cmid == 0
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    assert figure.layout.coloraxis.colorscale[-1][1] == "rgb(5,48,97)", "blue is positive"
    assert figure.layout.coloraxis.colorbar.title.text == "Recovery"
    bottom, top = figure.layout.yaxis.range
    assert bottom > top, "layer 0 is at the top"
    assert np.asarray(figure.data[0].z) == pytest.approx(np.array([[0.0, 0.1], [0.2, 0.0]]))


@pytest.mark.parametrize(
    ("recovery", "mark"),
    [
        ([[0.0, 0.1, 0.0], [0.0, 0.0, 0.31]], (2, 1, "Head 1.2: 0.31")),
        ([[0.0, -0.5, 0.0], [0.0, 0.0, 0.31]], (1, 0, "Head 0.1: -0.50")),
        ([[np.nan, 0.1, 0.0], [0.0, 0.0, 0.0]], (1, 0, "Head 0.1: 0.10")),
    ],
)
def test_the_strongest_head_is_marked_whatever_its_sign(recovery, mark):
    assert arrows(patching.patched_heads_fig(heads(recovery))) == [mark]


def test_a_neurons_drivers_are_titled_by_the_neuron_and_unmarked_where_nothing_happens():
    def drawn(recovery):
        tokens = [["x", "y", "z"]], "prompt_pair", "pos"
        datasets = {"recovery": (recovery, "layer", "pos"), "clean_token": tokens, "corrupted_token": tokens}
        return patching.patched_site_fig(table_of(datasets, site="mlp_out", neuron_layer=1, neuron_index=5))

    silent = drawn([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert titles(silent)[0] == "Activation of 1.5 From Patched MLP Layer"
    assert arrows(silent) == []
    assert (2, 0, "Layer 0 MLP: 0.50") in arrows(drawn([[0.0, 0.25, 0.5], [0.0, 0.0, 0.0]]))


def test_drivers_without_values_are_drawn_without_marks():
    nothing = np.full((2, 3), np.nan)
    heads = table_of({"recovery": (nothing, "layer", "head")}, site="z", neuron_layer=1, neuron_index=5)
    tokens = [["x", "y", "z"]], "prompt_pair", "pos"
    datasets = {"recovery": (nothing, "layer", "pos"), "clean_token": tokens, "corrupted_token": tokens}
    for site in ("resid_pre", "attn_out", "mlp_out"):
        figure = patching.patched_site_fig(table_of(datasets, site=site, neuron_layer=1, neuron_index=5))
        assert arrows(figure) == []
    assert arrows(patching.patched_heads_fig(heads)) == []
