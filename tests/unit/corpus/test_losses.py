import numpy as np
import pytest
import torch

from an_neuron.corpus.losses import read_losses

LOGITS = torch.tensor([[1.0, 2, 3, 4, 5], [0, 0, 0, 0, 0], [300, -300, 0, 0, 1]])


def blocks(logits, size):
    for start in range(0, logits.shape[1], size):
        yield start, logits[:, start : start + size].clone()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_losses_are_those_of_whole_logits(size):
    loss, log_p, logit = read_losses(blocks(LOGITS, size), torch.tensor([4, 1, 1]), [3, 0])
    total = np.log(np.exp(LOGITS[0].double().numpy()).sum())
    assert loss.tolist() == pytest.approx([total - 5, np.log(5), 600])
    assert log_p[0].tolist() == pytest.approx([4 - total, -np.log(5), -300])
    assert logit.tolist() == [[4, 0, 0], [1, 0, 300]]


def test_a_block_of_minus_infinity_alone_adds_nothing():
    logits = LOGITS.clone()
    logits[:, 2:4] = -torch.inf
    loss, *_ = read_losses(blocks(logits, 2), torch.tensor([4, 0, 0]), [0])
    assert loss.tolist() == pytest.approx([np.log(1 + np.exp(-3) + np.exp(-4)), np.log(3), 0], abs=1e-6)


def test_nan_is_handed_on():
    logits = LOGITS.clone()
    logits[1, 3] = torch.nan
    loss, *_ = read_losses(blocks(logits, 2), torch.tensor([4, 0, 0]), [0])
    assert loss.isnan().tolist() == [False, True, False]
