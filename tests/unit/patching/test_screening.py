"""Screening: the bound by hand and by draws, and what is measured of a tiny model."""

from math import comb

import pytest
import torch

from an_neuron import screen_neurons
from an_neuron.errors import UserError
from an_neuron.patching.engine import Engine
from an_neuron.patching.metric import LogitDifference
from an_neuron.patching.screened import most_exceeding
from an_neuron.patching.sweeps import patch_neurons
from an_neuron.prompts.pairs import PromptPair

PAIRS = [PromptPair([0, 3, 4, 5, 6, 8, 9], [0, 3, 4, 12, 6, 8, 9])]
METRIC = LogitDifference(3, 7)


@pytest.fixture(scope="module")
def engine(tiny_of):
    return Engine(tiny_of("gpt2").load())


@pytest.fixture(scope="module")
def exact(engine):
    return patch_neurons(engine, PAIRS, METRIC).recovery


@pytest.mark.parametrize(
    ("exceeding", "sample", "of", "limit"),
    [
        (0, 10, 10, 0),  # all were looked at
        (3, 10, 10, 3),
        (0, 0, 10, 10),  # none was
        # Of 10 with 1 of the kind, 5 drawn miss it with 1/2; of 10 with 4, with C(6,5)/C(10,5) = 6/252 < 0.05;
        # with 3, with C(7,5)/C(10,5) = 21/252 = 0.083.
        (0, 5, 10, 3),
        # At most one is drawn: with 6 of the kind (C(4,5) = 0) C(6,1) C(4,4) / 252 = 0.024; with 5,
        # (C(5,5) + C(5,1) C(5,4)) / 252 = 26/252 = 0.103.
        (1, 5, 10, 5),
    ],
)
def test_limit_by_hand(exceeding, sample, of, limit):
    assert most_exceeding(exceeding, sample, of) == limit


def test_limit_is_the_last_that_is_likely_enough():
    def chance(number):
        ways = sum(comb(number, seen) * comb(5000 - number, 300 - seen) for seen in range(3))
        return ways / comb(5000, 300)

    limit = most_exceeding(2, 300, 5000, 0.99)
    assert chance(limit) > 0.01 >= chance(limit + 1)


@pytest.mark.parametrize("number", [1, 13, 40, 400])
def test_the_bound_holds_in_as_many_draws_as_it_says(number):
    """A thousand samples of 150 out of 2,000, of which some exceed."""
    generator, held = torch.Generator().manual_seed(number), 0
    for _ in range(1000):
        drawn = torch.randperm(2000, generator=generator)[:150]
        held += most_exceeding(int((drawn < number).sum()), 150, 2000) >= number
    assert held >= 950


@pytest.mark.parametrize("sample", [5, 12, 39])
def test_the_bound_holds_with_the_stated_chance_whatever_the_population(sample):
    """The chances of all samples in which the bound holds, summed; 40 of which any number exceed."""
    limits = [most_exceeding(seen, sample, 40) for seen in range(sample + 1)]
    for number in range(41):
        ways = sum(
            comb(number, seen) * comb(40 - number, sample - seen)
            for seen in range(sample + 1)
            if limits[seen] >= number and seen <= number
        )
        assert ways >= 0.95 * comb(40, sample)


def test_what_cannot_be_is_refused():
    with pytest.raises(UserError, match="Of 10 neurons 12 were drawn, and 0 of them exceed"):
        most_exceeding(0, 12, 10)


def test_the_first_by_attribution_and_a_sample_are_measured_exactly(engine, exact):
    found = screen_neurons(engine, PAIRS, METRIC, screen=12, sample=10, rank=5, seed=3)
    assert len({*found.neurons}) == 22
    for neuron, recovery in zip(found.neurons, found.sweep.recovery.tolist(), strict=True):
        assert recovery == pytest.approx(float(exact[neuron]), abs=1e-5)
    effects = found.sweep.recovery.abs()
    assert found.least == float(effects[:12].sort(descending=True).values[4])
    assert found.exceeding == int((effects[12:] > found.least).sum())
    missed = sum(abs(value) > found.least for value in exact.flatten().tolist()) - int((effects > found.least).sum())
    assert found.at_most == most_exceeding(found.exceeding, 10, 48 - 12) - found.exceeding >= missed
    frame = found.to_frame()
    assert frame["recovery"].is_monotonic_decreasing
    assert frame["drawn"].sum() == 10
    assert repr(found) == (
        "22 of 48 neurons were patched exactly: the 12 that attribution puts first, and 10 of the others, drawn at "
        f"random. Of the neurons drawn {found.exceeding} exceed an absolute recovery of {found.least:.3g}; with 95% "
        f"confidence at most {found.at_most} of the 26 not measured do."
    )


def test_another_seed_draws_others_and_the_same_one_the_same(engine):
    drawn = [{*screen_neurons(engine, PAIRS, METRIC, screen=12, sample=10, seed=seed).neurons} for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_where_all_are_measured_none_is_missed(engine):
    found = screen_neurons(engine, PAIRS, METRIC, [1], screen=20, sample=10, least=1e-4)
    assert (len(found.neurons), found.of, found.at_most) == (24, 24, 0)
    assert repr(found) == "24 of 24 neurons were patched exactly; nothing is left to be missed."


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"screen": 0}, "screen must be at least 1, not 0"),
        ({"sample": 0}, "sample must be at least 1, not 0"),
        ({"screen": 3, "rank": 4}, "rank is one of the 3 screened neurons, not 4; screen more, or give least"),
        ({"confidence": 95}, "confidence lies between 0 and 1, as 0.95 does, not 95"),
        ({"least": float("nan")}, "least is an absolute recovery, 0 or more, not nan"),
    ],
)
def test_wrong_arguments_are_refused(engine, wrong, sentence):
    with pytest.raises(UserError, match=sentence):
        screen_neurons(engine, PAIRS, METRIC, **wrong)
