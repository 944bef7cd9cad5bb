import numpy as np
import pytest

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.study.finding import finding

PREDICTIONS = Schema(
    "predictions.h5",
    "",
    {"name": Field("prompt", "text", "", ""), "logit_difference": Field("prompt", "float32", "", "")},
)
MAP = Schema(
    "map.h5",
    "",
    {
        "recovery": Field("layer d_mlp", "float32", "", ""),
        "layer": Field("layer", "int32", "", ""),
        **{f"top_{name}": Field("rank", "int32", "", "") for name in ("layer", "index")},
        "top_recovery": Field("rank", "float32", "", ""),
        "top_tokens": Field("rank k", "text", "", ""),
    },
)
SET = Schema(
    "prompt_set.h5",
    "",
    {
        "recovery": Field("prompt_pair neuron", "float32", "", ""),
        "part": Field("prompt_pair", "text", "", ""),
        "layer": Field("neuron", "int32", "", ""),
        "index": Field("neuron", "int32", "", ""),
    },
)
HEADS = Schema(
    "heads_z.h5",
    "",
    {
        "recovery": Field("layer head", "float32", "", ""),
        **{name: Field("prompt_pair", "float32", "", "") for name in ("clean", "corrupted")},
    },
)
ABLATED = Schema(
    "prompts.h5",
    "",
    {
        "name": Field("prompt", "text", "", ""),
        "intervention": Field("intervention", "text", "", ""),
        "probability": Field("prompt intervention token", "float32", "", ""),
    },
)
CHOICE = Schema("choice.h5", "", {"mean_p_answer": Field("bin", "float32", "", "")})
ASSOCIATION = Schema("association.h5", "", {"threshold": Field("threshold", "float32", "", "")})
NEXT_BEST = {"next_best_held_out": "7.0", "next_best_mean_held_out": 0.375, "next_best_p_held_out": 0.5}
RECOVERY = np.array([[0.0, 0.75], [0.5, -0.25]])

EXACT = {"precision": "highest", "measured_again": 0}


@pytest.fixture
def tables(tmp_path):
    """Write the tables of a study of four neurons, whose best is 4.1."""

    def write(f1=0.75, pearson=0.75, recovery=RECOVERY, precision=EXACT, **choice):
        paths = {
            name: tmp_path / f"{name}.h5"
            for name in ("predictions", "map", "heads", "ablated", "prompt_set", "choice", "association")
        }
        differences = {"name": ["clean 0", "corrupted 0", "clean 1", "corrupted 1"], "logit_difference": [2, -1, 4, -2]}
        hdf5.write(paths["predictions"], PREDICTIONS, differences, {})
        order = np.argsort(-np.abs(recovery), axis=None, kind="stable")
        rows, columns = np.unravel_index(order, recovery.shape)
        values = {
            "recovery": recovery,
            "layer": [4, 7],
            "top_layer": np.array([4, 7])[rows],
            "top_index": columns,
            "top_recovery": recovery.ravel()[order],
            "top_tokens": [[" an", f"t{rank}"] for rank in range(4)],
        }
        hdf5.write(
            paths["map"],
            MAP,
            values,
            {"answer": " an", "foil": " a", "model": "pear", "spot_checks": 11, "rounding": 2e-6, **precision},
        )
        driving = {"recovery": [[0.25, 0.0], [-0.5, 1.125]], "clean": [4, 2], "corrupted": [0, -1]}
        hdf5.write(paths["heads"], HEADS, driving, {})
        probability = np.zeros((3, 3, 2))
        probability[:2, :, 0] = [[0.5, 0.25, 0.0003], [0.75, 0.25, 0.0001]]
        runs = {"name": ["clean 0", "clean 1", "corrupted 0"], "intervention": ["none", "zero", "negated"]}
        hdf5.write(paths["ablated"], ABLATED, {**runs, "probability": probability}, {"answer": " an"})
        pairs = {
            "recovery": [[0.5, 0.25], [0.75, 0.5], [0.25, 0.5]],
            "part": ["held_out", "held_out", "development"],
            "layer": [4, 7],
            "index": [1, 0],
        }
        hdf5.write(paths["prompt_set"], SET, pairs, {"n_tests": 4, **NEXT_BEST})
        interval = {f"{name}{end}": pearson for name in ("pearson", "spearman") for end in ("", "_low", "_high")}
        named = {
            "token": " an",
            "foil": " a",
            "n_positions": 1940,
            "n_held": 1940,
            "direction": "above",
            **interval,
            **choice,
        }
        hdf5.write(paths["choice"], CHOICE, {"mean_p_answer": [0.0625, 0.5, 0.875]}, named)
        hdf5.write(
            paths["association"], ASSOCIATION, {"threshold": [0]}, {"token": " an", "top_predictions": 3, "best_f1": f1}
        )
        return paths

    return write


def test_a_reduced_precision_is_told(tables):
    precision = {"precision": "bfloat16", "error_median": 0.0036, "measured_again": 1500}
    assert (
        "Most products are in bfloat16, which puts values above 0.001 off by 0.4% (median); 1,500 neurons, the largest "
        "among them, were measured in float32."
    ) in finding(tables(precision=precision), 4, 1)


def test_a_screen_is_told_and_what_it_may_have_missed(tables):
    screened = {"screened": 2, "drawn": 1, "unmeasured": 1, "least": 0.25, "exceeding": 0, "at_most": 1}
    text = finding(tables(recovery=np.array([[0.0, 0.75], [np.nan, -0.25]]), precision=EXACT | screened), 4, 1)
    assert (
        "(clean 3.00, corrupted -1.50): the largest of 3 neurons that were patched.\n3 of 4 neurons were patched: the "
        "2 that attribution puts first, or the study names, and 1 of the others, drawn at random.\n"
    ) in text
    assert (
        "What is weak, or does not hold:\n- Of the neurons drawn at random none exceeds an absolute recovery of 0.25 "
        "(number 2 among those that attribution puts first, or rounding where that is more): with 95 % confidence "
        "at most 1 of the 1 that were not patched do.\n"
    ) in text
    assert "that were patched" not in finding(tables(), 4, 1)


def test_the_finding_is_told_with_its_numbers(tables):
    text = finding(tables(), 4, 1)
    assert (
        'Neuron 4.1 of pear, patched alone, recovers 0.75 of the logit difference between " an" and " a" (clean 3.00, '
        "corrupted -1.50): the largest of 4 neurons."
    ) in text
    assert 'The patch raises the logits of " an", "t0" most.' in text
    assert "11 of these values were measured again by ordinary forwards; they differ by at most 2e-06." in text
    assert "Most products" not in text
    assert (
        'With 4.1 switched off at every position, the model gives " an" 25.0 % instead of 62.5 % in the mean after 2 '
        "clean prompts; with its activation negated, 0.02 %."
    ) in text
    assert (
        "of all attention heads, 1.1 moves the activation of 4.1 most; patched alone, it recovers 1.12 of it (clean "
        "3.00, corrupted -0.50)."
    ) in text
    # 0.5 and 0.75: mean 0.625, deviation 0.1768, standard error 0.125.
    assert "Over 2 held-out prompt pairs it recovers 0.625 ± 0.125 (mean and standard error), the most of 2" in text
    # Of the four ways to draw two pairs one has the mean 0.5, and one 0.75. Both signs are one of two in four ways.
    assert (
        "The 95 % bootstrap interval of the mean over the 2 held-out prompt pairs is 0.500 to 0.750. Recovery there "
        "differs from 0 with p = 1 (exact Wilcoxon signed-rank test, two-sided: p = 0.5, times the 4 neurons that it "
        "was chosen from).\nThe next best neuron over them is 7.0, with a mean of 0.375; the two differ with p = 0.5 "
        "(paired"
    ) in text
    assert "At the 1,940 places" in text
    assert "At 500 places drawn from the 1,940 places of the corpus" in finding(tables(n_held=500), 4, 1)
    assert "0.75 [0.75, 0.75] (Pearson)" in text
    assert 'the model gives " an" 0.06 where 4.1 is least active, and 0.88 where it is most active' in text


def test_what_is_weak_is_said(tables):
    weak = finding(tables(f1=0.25, pearson=0.125), 4, 1).partition("What is weak, or does not hold:\n")[2]
    assert weak.splitlines() == [
        "- 4.1 is not alone: patched alone, 7.0 (0.50) recovers more than half as much.",
        "- Against it: 7.1 (-0.25), patched alone, moves the model the other way.",
        "- In 1 of 3 prompt pairs 7.0 recovers more than 4.1.",
        "- Over the held-out prompt pairs (2) the recovery of 4.1 is not known to differ from 0: corrected for 4 "
        "neurons, p = 1; so many prompt pairs give 1 at best.",
        '- As a predictor of " an" as the top prediction of all tokens, 4.1 is weak: F1 0.25 at best.',
        "- Over the corpus its activation says little of the choice between answer and foil; it may be idle where the "
        "model does not know which noun comes.",
    ]


def test_a_finding_without_weakness_says_nothing_of_any(tables):
    paths = tables(recovery=np.array([[0.0, 0.75], [0.125, 0.0]]))
    del paths["prompt_set"], paths["choice"]
    text = finding(paths, 4, 1)
    assert "weak" not in text
    assert len(text.splitlines()) == 5
    assert "number 2 of 4" in finding(paths, 7, 0)


def test_bins_that_run_from_the_highest_activation_are_told_so(tables):
    assert "0.06 where 4.1 is most active, and 0.88 where it is least active" in finding(
        tables(direction="below"), 4, 1
    )


def test_a_corpus_without_any_place_to_choose_is_said_to_say_nothing(tables):
    text = finding(tables(n_positions=0, pearson=float("nan")), 4, 1)
    assert "nan" not in text
    assert "- The corpus has no place where answer or foil is to be expected" in text
