"""The README's numbers of SmolLM2 are those that CI measures and holds against resources/published/smollm2.csv."""

import csv
from pathlib import Path

import pytest

HELD_OUT = ("prompt pairs", "mean recovery", "standard error", "times best")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def expected():
    with (ROOT / "resources/published/smollm2.csv").open(encoding="utf-8") as file:
        return {row["quantity"]: row["published"] for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def page():
    return " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())


@pytest.mark.parametrize(
    ("sentence", "quantities"),
    [
        ("25.1527 recovers **{:.2f}** of the logit difference", ["neurons: best recovery"]),
        ("(clean {:.2f}, corrupted −{:.2f})", ["clean: logit difference", "corrupted: logit difference"]),
        (
            'the model gives " an" {:.1f} % instead of {:.1f} %; with its activation negated, {:.1f} %',
            [
                "clean, zero: probability of the answer in %",
                "clean: probability 1 in %",
                "clean, negated: probability of the answer in %",
            ],
        ),
        (
            "Over **{:.0f} held-out prompt pairs**, of other nouns and sentences, it recovers {:.3f} ± {:.3f}",
            [f"prompt set, held_out: {name}" for name in ("prompt pairs", "mean recovery", "standard error")],
        ),
        (
            "95 % bootstrap interval {:.3f} to {:.3f})",
            [f"prompt set, held_out: {end} end of the interval" for end in ("low", "high")],
        ),
        ("Against no recovery at all, p = {:.4f} (exact signed-rank", ["prompt set, held_out: corrected p"]),
        ("is the best of the 200 candidates in {:.0f} of them;", ["prompt set, held_out: times best"]),
        (
            "over {:.0f} development pairs {:.3f}, and the best in {:.0f}.",
            [f"prompt set, development: {name}" for name in ("prompt pairs", "mean recovery", "times best")],
        ),
        (
            "is attention head {:.1f}: patched alone, its output recovers {:.2f} of",
            ["drivers: strongest head", "drivers: its recovery"],
        ),
        (
            '({:.2f} on "apple", {:.2f} on "lemon")',
            ["drivers: clean activation", "drivers: corrupted activation"],
        ),
        (
            "Neuron 19.28, at the noun, recovers {:.2f} by itself, and {:.2f} by one path alone",
            ["circuit: 19.28 at -4", "circuit: 19.28 at -4 to head 23.0 at -1"],
        ),
        (
            "Head 23.0 recovers {:.2f}: by its path to 23.1468 alone {:.2f}, by that to 25.1527 alone {:.2f}",
            [
                "circuit: head 23.0 at -1",
                *(f"circuit: head 23.0 at -1 to {neuron} at -1" for neuron in ("23.1468", "25.1527")),
            ],
        ),
        ("23.1468 drives 25.1527 besides ({:.2f})", ["circuit: 23.1468 at -1 to 25.1527 at -1"]),
        ('25.1527 raises " an" directly ({:.2f})', ["circuit: 25.1527 at -1, directly"]),
        ("takes part of it back (−{:.2f})", ["circuit: 25.1527 at -1 to 29.947 at -1"]),
        (
            "{:.0f} neurons together recover {:.2f} of the difference, and without them {:.2f} of it is left",
            [f"circuit: neurons, exact: smallest {what}" for what in ("set", "recovery", "left")],
        ),
        ("at the {:,.0f} places where", ["choice: positions"]),
        ("logit difference correlate with {:.2f} (Pearson", ["choice: pearson"]),
        (
            "{:.2f} of both where the neuron is least active, and {:.2f} where it is most active",
            ["choice: least active, p(answer)", "choice: most active, p(answer)"],
        ),
        (
            "Over {:.0f} held-out prompt pairs it recovers {:.3f} ± {:.3f}, and is the best neuron in {:.0f} of them",
            [f"prompt set, held_out: {name}" for name in HELD_OUT],
        ),
    ],
)  # fmt: skip
def test_a_number_of_the_page_is_the_expected_one(page, expected, sentence, quantities):
    assert sentence.format(*(abs(float(expected[quantity])) for quantity in quantities)) in page


def test_the_page_names_the_neuron_that_is_the_best(page, expected):
    assert f"In SmolLM2-135M it is {expected['neurons: layer']}.{expected['neurons: best']}" in page


def test_the_page_is_short(page):
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
