import pytest
import torch

from an_neuron.congruence.answer import ANSWER, token_congruence, write_answer
from an_neuron.congruence.neuron import neuron_congruence
from an_neuron.files import hdf5


def test_a_token_with_every_neuron_is_every_neuron_with_the_token(tiny):
    found = token_congruence(tiny.raw, 7)
    assert found.W_out_dot_W_U.shape == (2, 24)
    for layer, index in ((0, 3), (1, 5)):
        neuron = neuron_congruence(tiny.raw, layer, index)
        assert float(found.W_out_dot_W_U[layer, index]) == pytest.approx(float(neuron.W_out_dot_W_U[7]), abs=1e-5)
        assert float(found.W_out_dot_W_E[layer, index]) == pytest.approx(float(neuron.W_out_dot_W_E[7]), abs=1e-5)


def test_products_are_worked_out_by_hand(micro):
    """Each neuron's three or four output weights times the token's column, added up."""
    model = micro.raw
    found = token_congruence(model, 3).W_out_dot_W_U[0]
    weights, column = model.blocks[0].mlp.W_out.tolist(), model.W_U[:, 3].tolist()
    assert found.tolist() == pytest.approx([sum(a * b for a, b in zip(row, column, strict=True)) for row in weights])


def test_it_comes_back_as_it_was_written(tmp_path, tiny_gpt2):
    found = token_congruence(tiny_gpt2.raw, 7)
    write_answer(tmp_path / "answer.h5", found, {"token": "g", "token_id": 7})
    table = hdf5.read(tmp_path / "answer.h5", ANSWER)
    assert torch.equal(torch.from_numpy(table["W_out_dot_W_U"]), found.W_out_dot_W_U)
    assert table.attributes["token"] == "g"
