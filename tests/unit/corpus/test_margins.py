import pytest
import torch

from an_neuron.corpus.margins import margins_and_top


@pytest.mark.parametrize("block", [1, 2, 3])
def test_the_margin_of_the_top_token_is_over_the_second(block):
    logits = torch.tensor([[-1.0, 5.0, -3.0], [4.0, -1.0, 4.5], [2.0, 2.0, 0.0], [1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    blocks = [(start, logits[:, start : start + block].clone()) for start in range(0, 3, block)]
    margin, top = margins_and_top(blocks, [1, 0])
    assert margin.T.tolist() == [[6.0, -6.0], [-5.5, -0.5], [0.0, 0.0], [-1.0, -2.0], [-1.0, 1.0]]
    assert top.tolist() == [1, 2, 0, 2, 0]


@pytest.mark.parametrize("token", range(4))
@pytest.mark.parametrize("block", [1, 2, 4])
def test_a_logit_that_is_no_number_makes_every_margin_none(token, block):
    logits = torch.tensor([[1.0, 4.0, 3.0, 2.0]])
    logits[0, token] = torch.nan
    blocks = [(start, logits[:, start : start + block].clone()) for start in range(0, 4, block)]
    margin, _ = margins_and_top(blocks, [0, 1, 2, 3])
    assert margin[:, 0].isnan().all()
