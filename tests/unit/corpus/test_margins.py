import numpy as np
import pytest
import torch

from an_neuron.corpus.margins import read_logits


@pytest.mark.parametrize("block", [1, 2, 3])
def test_the_margin_of_the_top_token_is_over_the_second(block):
    logits = torch.tensor([[-1.0, 5.0, -3.0], [4.0, -1.0, 4.5], [2.0, 2.0, 0.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    blocks = [(start, logits[:, start : start + block].clone()) for start in range(0, 3, block)]
    margin, top = read_logits(blocks, [(1,), (0,)])
    assert margin.T.tolist() == [[6.0, -6.0], [-5.5, -0.5], [0.0, 0.0], [-1.0, -2.0], [-1.0, 1.0]]
    assert top.tolist() == [1, 2, 0, 2, 0]


@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_the_margin_of_a_group_is_over_the_largest_logit_outside(block):
    logits = torch.tensor([[5.0, 4.0, 1.0, 3.0], [1.0, 2.0, 7.0, 6.5], [0.0, 2.0, 2.0, 1.0]])
    blocks = [(start, logits[:, start : start + block].clone()) for start in range(0, 4, block)]
    margin, top = read_logits(blocks, [(0, 1), (2,), (3, 2), (0, 1, 2, 3)])
    # Both of the first group beat the others; then its best, 2, is 5 below 7; then 2 equals 2, which is no lead.
    assert margin[0].tolist() == [2.0, -5.0, 0.0]
    assert margin[1].tolist() == [-4.0, 0.5, 0.0]
    assert margin[2].tolist() == [-2.0, 5.0, 0.0]
    assert margin[3].tolist() == [torch.inf] * 3, "no logit is left"
    assert top.tolist() == [0, 2, 1]


@pytest.mark.parametrize("token", range(4))
@pytest.mark.parametrize("block", [1, 2, 4])
def test_a_logit_that_is_no_number_makes_every_margin_none(token, block):
    logits = torch.tensor([[1.0, 4.0, 3.0, 2.0]])
    logits[0, token] = torch.nan
    blocks = [(start, logits[:, start : start + block].clone()) for start in range(0, 4, block)]
    margin, _ = read_logits(blocks, [(0,), (1,), (2,), (3,), (0, 1), (2, 3)])
    assert margin[:, 0].isnan().all()


@pytest.mark.parametrize("block", [1, 2, 3, 4])
def test_a_choice_is_worked_out_by_hand(block):
    """Odds of 1 : 3 : 4 : 8 and of 2 : 1 : 1 : 0, of which the answer is the second token and the foil the first."""
    logits = torch.tensor([[1.0, 3.0, 4.0, 8.0], [2.0, 1.0, 1.0, 0.0]]).log()
    blocks = [(start, logits[:, start : start + block].clone()) for start in range(0, 4, block)]
    margin, top, difference, expected = read_logits(blocks, [(3,)], choice=(1, 0))
    assert difference.tolist() == pytest.approx([np.log(3), -np.log(2)], abs=1e-6)
    assert expected.tolist() == pytest.approx([4 / 16, 3 / 4], abs=1e-6)
    alone = read_logits([(0, logits)], [(3,)])
    assert (margin.tolist(), top.tolist()) == tuple(part.tolist() for part in alone)


@pytest.mark.parametrize("token", range(4))
@pytest.mark.parametrize("block", [1, 2, 4])
def test_a_logit_that_is_no_number_makes_the_expectation_none(token, block):
    logits = torch.tensor([[1.0, 4.0, 3.0, 2.0]])
    logits[0, token] = torch.nan
    blocks = [(start, logits[:, start : start + block].clone()) for start in range(0, 4, block)]
    *_, expected = read_logits(blocks, [(0,)], choice=(1, 2))
    assert expected.isnan().all()


def test_a_block_of_minus_infinity_adds_nothing():
    logits = torch.tensor([[0.0, 0.0, -torch.inf, -torch.inf]])
    blocks = [(start, logits[:, start : start + 2].clone()) for start in (0, 2)]
    *_, expected = read_logits(blocks, [(0,)], choice=(0, 1))
    assert expected.tolist() == pytest.approx([1.0], abs=1e-6)


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[500.0, 500.0, -500.0]])
    *_, difference, expected = read_logits(
        [(0, logits[:, :2].clone()), (2, logits[:, 2:].clone())], [(0,)], choice=(0, 2)
    )
    assert difference.tolist() == [1000]
    assert expected.tolist() == pytest.approx([0.5], abs=1e-6)
