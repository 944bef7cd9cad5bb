import subprocess
import sys

import numpy as np
import plotly.graph_objects as go
import pytest
from figure_reading import arrows, frame_of, titles

from an_neuron.figures import notebook
from an_neuron.figures.labels import box_around, overlap, text_size, within
from an_neuron.figures.style import STATIC_LIMIT
from an_neuron.files.texts import visible

BLUE, RED = "blue", "red"


def texts(values):
    return np.array(values, dtype=object)


def boxes(figure):
    frame = frame_of(figure)
    for note in figure.layout.annotations:
        if note.showarrow:
            yield box_around(frame.pixels(note.x, note.y)[0] + [note.ax, note.ay], note.text)


def assert_labels_are_clear(figure):
    width, height = frame_of(figure).size
    placed = list(boxes(figure))
    assert placed
    for number, (left, top, right, bottom) in enumerate(placed):
        assert left > 0
        assert top > 0
        assert right < width
        assert bottom < height
        assert not any(overlap(placed[number], other) for other in placed[:number])


# The logit lens


def lens(stored, values, own=0.986):
    n = len(values)
    return stored(
        {
            "point_label": (texts([f"{i // 2}_{'mid' if i % 2 else 'pre'}" for i in range(n)]), "point"),
            "x": (np.arange(n) / 2, "point"),
            "logit_difference": (np.array([values]), "prompt_pair", "point"),
            "mean_logit_difference": (np.array(values), "point"),
            "model_logit_difference": (np.array([own - 0.5, own + 0.5]), "prompt_pair"),
        },
        answer=" an",
        foil=" a",
        layers=n // 2,
    )


def test_lens_annotates_its_maximum_and_draws_the_models_own_difference(stored):
    figure = notebook.logit_lens_fig(lens(stored, [-1.0, -0.5, 0.25, 1.09, 0.4]))
    assert titles(figure) == ("Logit Difference From Residual Stream", "Layer", "Logit Difference")
    assert arrows(figure) == [(1.5, pytest.approx(1.09), "Logit Difference spikes to 1.09")]
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == pytest.approx(0.986)
    assert line.line.dash == "dash"
    assert any("0.99" in note.text for note in figure.layout.annotations if not note.showarrow)
    (trace,) = figure.data
    assert trace.mode == "lines"
    assert list(trace.hovertext) == ["0_pre", "0_mid", "1_pre", "1_mid", "2_pre"]
    assert not figure.layout.showlegend
    assert_labels_are_clear(figure)


def test_lens_calls_only_a_maximum_between_lower_points_a_spike(stored):
    figure = notebook.logit_lens_fig(lens(stored, [0.0, 1.0, 5.2], own=5.1))
    assert arrows(figure) == [(1.0, pytest.approx(5.2), "Logit Difference peaks at 5.20")]


# Heat maps


def site(stored, name, recovery, clean, corrupted):
    recovery = np.array(recovery)
    return stored(
        {
            "recovery": (recovery, "layer", "pos"),
            "recovery_per_prompt_pair": (np.stack([recovery] * len(clean)), "prompt_pair", "layer", "pos"),
            "clean_token": (texts(clean), "prompt_pair", "pos"),
            "corrupted_token": (texts(corrupted), "prompt_pair", "pos"),
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
def test_heat_maps_have_the_notebooks_titles_and_mark_their_strongest_cells(stored, name, title, marks):
    figure = notebook.patched_site_fig(site(stored, name, RECOVERY, CLEAN, CORRUPTED))
    assert titles(figure) == (title, "Token", "Layer")
    assert arrows(figure) == marks
    assert figure.layout.coloraxis.cmid == 0
    red, blue = figure.layout.coloraxis.colorscale[0][1], figure.layout.coloraxis.colorscale[-1][1]
    assert (red, blue) == ("rgb(103,0,31)", "rgb(5,48,97)")
    assert figure.layout.coloraxis.colorbar.title.text == "Recovery"
    bottom, top = figure.layout.yaxis.range
    assert bottom > top, "layer 0 is at the top"
    assert np.asarray(figure.data[0].z) == pytest.approx(np.array(RECOVERY))


def test_heat_map_names_positions_and_their_replacements(stored):
    figure = notebook.patched_site_fig(site(stored, "resid_pre", RECOVERY, CLEAN, CORRUPTED))
    assert list(figure.data[0].x) == ["0. '&lt;|endoftext|'", "1. '↵'", "2. ' apple'", "3. ' tree'"]
    hover = figure.data[0].customdata
    assert hover[1][2] == "2. ' apple' (corrupted: ' lemon')"
    assert hover[0][3] == "3. ' tree'"


def test_heat_map_of_unequal_prompts_shows_where_they_differ_and_leaves_gaps(stored):
    clean = [["", "", " apple", " tree"], ["<|endoftext|>", "\n", " orange", " tree"]]
    corrupted = [["", "", " lemon", " tree"], ["<|endoftext|>", "\n", " lemon", " tree"]]
    recovery = [[np.nan, 0.0, 0.01, 0.02], [np.nan, 0.0, 0.03, 0.04]]
    figure = notebook.patched_site_fig(site(stored, "mlp_out", recovery, clean, corrupted))
    assert list(figure.data[0].x) == ["0. '&lt;|endoftext|'", "1. '↵'", "2. ' apple'…", "3. ' tree'"]
    assert figure.data[0].customdata[0][2] == "2. ' apple', ' orange' (corrupted: ' lemon')"
    assert arrows(figure) == [(3, 0, "Layer 0 MLP: 0.02"), (3, 1, "Layer 1 MLP: 0.04")]


def test_heat_map_labels_stay_inside_at_the_edges(stored):
    recovery = np.zeros((36, 4))
    recovery[0, 3], recovery[35, 0] = 0.9, 0.8
    figure = notebook.patched_site_fig(site(stored, "mlp_out", recovery, CLEAN, CORRUPTED))
    assert len(arrows(figure)) == 2
    assert_labels_are_clear(figure)


# Neurons


def neurons(stored, recovery):
    recovery = np.array(recovery)
    datasets = {"recovery": (recovery, "d_mlp"), "recovery_per_prompt_pair": (recovery[None], "prompt_pair", "d_mlp")}
    return stored(datasets, layer=31, answer=" an", foil=" a")


def test_published_neuron_stands_out(stored):
    recovery = np.zeros(5120)
    recovery[892], recovery[4799], recovery[1912] = 0.485, 0.006, -0.0178
    figure = notebook.patched_neuron_fig(neurons(stored, recovery))
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
def test_a_neuron_stands_out_only_at_one_and_a_half_times_the_second(stored, recovery, text):
    figure = notebook.patched_neuron_fig(neurons(stored, recovery))
    assert arrows(figure) == [(1, pytest.approx(recovery[1]), text)]


# Activations


def activations(stored, activation, margin, vocabulary=(" a", " an", "<b>\n")):
    activation, margin = np.array(activation), np.array(margin)
    ids = np.arange(activation.size).reshape(activation.shape) % len(vocabulary)
    return stored(
        {
            "activation": (activation, "row", "pos"),
            "margin": (margin, "row", "pos"),
            "token_id": (ids, "row", "pos"),
            "top_prediction": (ids, "row", "pos"),
            "vocabulary": (texts(vocabulary), "d_vocab"),
        },
        layer=31,
        index=892,
        token=" an",
        token_id=1,
        readout="embedding",
        top_predictions=int((margin > 0).sum()),
        occurrences=2251,
    )


def test_activations_are_the_notebooks_scatter(stored):
    table = activations(stored, [[1.0, 2.0, 3.0], [-1.0, 0.0, 4.0]], [[-5.0, 0.5, -1.0], [3.0, -2.0, 2.0]])
    figure = notebook.logit_activation_fig(table)
    assert titles(figure) == (
        'Layer 31 Neuron 892 activations (>=0) vs. " an" Logit subtract Top Other Logit',
        "Layer 31 Neuron 892 activation",
        '" an" Logit - Max Other Logit',
    )
    blue, red = figure.data
    assert (blue.name, blue.marker.color, red.name, red.marker.color) == ("False", BLUE, "True", RED)
    assert (list(blue.x), list(blue.y)) == ([1.0, 3.0], [-5.0, -1.0])
    assert (list(red.x), list(red.y)) == ([2.0, 4.0], [0.5, 2.0])
    assert list(blue.hovertext) == [" a", "&lt;b&gt;↵"]
    assert "Top prediction=True<br>Layer 31 Neuron 892 activation=%{x}" in red.hovertemplate
    assert figure.layout.showlegend
    assert figure.layout.legend.title.text == "Top prediction"
    (box,) = figure.layout.annotations
    assert box.text == "Top predictions: 3<br>Actual occurrences: 2251"
    assert box.bgcolor == "grey"
    assert figure.layout.title.subtitle.text == "all 4 points drawn"


def test_the_counts_cover_no_points_where_there_is_room(stored):
    generator = np.random.default_rng(0)
    activation = generator.gamma(1.0, 1.0, (10, 500))
    table = activations(stored, activation, -12 + 2 * activation + generator.normal(size=(10, 500)))
    figure = notebook.logit_activation_fig(table)
    frame, (box,) = frame_of(figure), figure.layout.annotations
    width, height = frame.size
    wide, high = text_size(box.text, 14)
    left, top = box.x * width - wide / 2, (1 - box.y) * height - high / 2
    points = np.vstack([frame.pixels(trace.x, trace.y) for trace in figure.data])
    assert within(points, (left, top, left + wide, top + high)) == 0


def test_static_thinning_is_stated_and_keeps_every_red_point_and_the_outline(stored):
    generator = np.random.default_rng(0)
    activation, margin = generator.gamma(2.0, 1.0, (100, 1000)), generator.normal(-5, 2, (100, 1000))
    table = activations(stored, activation, margin)
    figure = notebook.logit_activation_fig(table, static=True)
    blue, red = figure.data
    assert len(red.x) == (margin > 0).sum()
    drawn = len(blue.x) + len(red.x)
    assert drawn <= STATIC_LIMIT
    assert figure.layout.title.subtitle.text.startswith(f"{drawn:,} of 100,000 points drawn")
    pixels = frame_of(figure).pixels(activation.ravel(), margin.ravel())
    kept = frame_of(figure).pixels(np.append(blue.x, red.x), np.append(blue.y, red.y))
    squares = {tuple(square) for square in np.floor(kept / 6).astype(int)}
    assert {tuple(square) for square in np.floor(pixels / 6).astype(int)} == squares, "no marker's place is left empty"
    again = notebook.logit_activation_fig(table, static=True)
    assert again.to_json() == figure.to_json()


def test_red_points_that_are_too_many_are_thinned_too(stored, monkeypatch):
    monkeypatch.setattr(notebook, "STATIC_LIMIT", 1_000)
    generator = np.random.default_rng(0)
    margin = generator.normal(1, 2, (10, 1000))
    figure = notebook.logit_activation_fig(activations(stored, generator.gamma(2.0, 1.0, (10, 1000)), margin))
    drawn = [len(trace.x) for trace in figure.data]
    assert all(0 < number <= 500 for number in drawn)
    text = f"{sum(drawn):,} of 10,000 points drawn: one of each colour wherever they overlap"
    assert figure.layout.title.subtitle.text == text


def test_a_browser_that_would_get_too_many_points_is_told_so(stored, monkeypatch):
    monkeypatch.setattr(notebook, "BROWSER_LIMIT", 5_000)
    generator = np.random.default_rng(0)
    margin = generator.normal(-5, 2, (10, 1000))
    figure = notebook.logit_activation_fig(activations(stored, generator.gamma(2.0, 1.0, (10, 1000)), margin), False)
    blue, red = figure.data
    assert len(red.x) == (margin > 0).sum()
    drawn = len(blue.x) + len(red.x)
    assert 3_000 < drawn <= 5_000, "as many as may be: one can zoom in"
    assert figure.layout.title.subtitle.text.startswith(f"{drawn:,} of 10,000 points drawn: all red ones")
    assert [type(trace) for trace in figure.data] == [go.Scattergl] * 2


def test_a_browser_gets_every_point_in_webgl(stored):
    generator = np.random.default_rng(0)
    table = activations(stored, generator.gamma(2.0, 1.0, (60, 1000)), generator.normal(-5, 2, (60, 1000)))
    figure = notebook.logit_activation_fig(table, static=False)
    assert sum(len(trace.x) for trace in figure.data) == 60_000
    assert figure.layout.title.subtitle.text == "all 60,000 points drawn"
    assert len(figure.data[1].x) < 5_000
    assert [type(trace) for trace in figure.data] == [go.Scattergl] * 2, "WebGL would hide a few red vector points"


def test_a_neuron_that_never_fires_gives_an_empty_figure(stored):
    figure = notebook.logit_activation_fig(activations(stored, [[-1.0, 0.0]], [[-5.0, 1.0]]))
    assert [len(trace.x) for trace in figure.data] == [0, 0]
    assert figure.layout.title.subtitle.text == "no activation is positive"


# Vocabulary


def alignment(stored, values, tokens):
    values = np.array(values)
    names = ("W_out_dot_W_U", "W_out_dot_W_E", "W_in_dot_W_E")
    datasets = dict.fromkeys(names, (values, "d_vocab")) | {"token": (texts(tokens), "d_vocab")}
    return stored(datasets, layer=31, index=892)


def test_tokens_with_the_same_text_keep_their_own_places(stored):
    table = alignment(stored, [0.5, 2.75, 0.1, 0.3], ["�", " an", "�", " incomprehensible"])
    figure = notebook.neuron_dot_vocab_fig(table)
    assert titles(figure) == (
        "Token Embeddings Dot Output Weights of Layer 31 MLP Neuron 892",
        "Token",
        "Dot Product",
    )
    assert list(figure.data[0].x) == [0, 1, 2, 3]
    assert figure.layout.xaxis.type != "category"
    assert list(figure.data[0].hovertext) == ["'�'", "' an'", "'�'", "' incompreh'"]
    assert [(x, text) for x, _, text in arrows(figure)] == [(1, "' an'"), (0, "'�'"), (3, "' incompreh'"), (2, "'�'")]


def test_the_seven_best_tokens_are_labelled_without_overlap(stored):
    values = np.random.default_rng(0).normal(0, 0.1, 1000)
    values[100:109] = np.linspace(3.0, 2.2, 9)
    figure = notebook.neuron_dot_vocab_fig(alignment(stored, values, [f" token{i}" for i in range(1000)]))
    assert [(x, y, text) for x, y, text in arrows(figure)] == [
        (100 + i, pytest.approx(3.0 - 0.1 * i), f"' token{100 + i}'") for i in range(7)
    ]
    assert_labels_are_clear(figure)


def test_most_similar_neurons_label_every_third_of_the_top_21(stored):
    n = 40
    second = np.ones(n)
    table = stored(
        {
            "value": (np.stack([second + np.arange(n) / 10, second], axis=1), "d_vocab", "rank"),
            "layer": (np.tile([31, 30], (n, 1)), "d_vocab", "rank"),
            "index": (np.tile([892, 7], (n, 1)), "d_vocab", "rank"),
            "token": (texts([f"t{i}" for i in range(n)]), "d_vocab"),
        }
    )
    figure = notebook.most_similar_neurons_fig(table)
    assert titles(figure) == (
        "Difference between Top 2 Most Similar Neuron Output Weights for each Token Embedding",
        "Token",
        "Top 2 Dot Product Difference",
    )
    expected = [39 - 3 * i for i in range(7)]
    assert [(x, text) for x, _, text in arrows(figure)] == [(i, f"'t{i}'") for i in expected]
    assert [y for _, y, _ in arrows(figure)] == pytest.approx([i / 10 for i in expected], abs=1e-6)
    assert figure.data[0].hovertext[0] == "Layer: 31, Neuron: 892 - Layer: 30, Neuron: 7"
    assert figure.layout.yaxis.dtick == 1
    assert_labels_are_clear(figure)


@pytest.mark.parametrize(("static", "kind"), [(True, go.Scatter), (False, go.Scattergl)])
def test_many_tokens_are_drawn_as_vectors_in_files_and_in_webgl_in_browsers(stored, static, kind):
    table = alignment(stored, np.linspace(0, 1, 6000), ["x"] * 6000)
    assert type(notebook.neuron_dot_vocab_fig(table, static).data[0]) is kind


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb\t", "a↵b⇥"), ("<b>&", "&lt;b&gt;&amp;"), ("\x00\xa0", "\\x00\\xa0"), (" an", " an"), ("日本", "日本")],
)
def test_texts_are_shown_letter_by_letter(text, shown):
    assert visible(text) == shown


def test_drawing_needs_no_torch():
    code = "import sys, an_neuron.figures.notebook, an_neuron.figures.export; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
