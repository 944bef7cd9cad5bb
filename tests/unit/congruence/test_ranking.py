import math

import h5py
import numpy as np
import pytest
import torch

from an_neuron.congruence.neuron import neuron_congruence, write_neuron_congruence
from an_neuron.congruence.ranking import rank_congruence, write_top_neurons, write_top_tokens
from an_neuron.files import hdf5

D_MLP = 24
ORIGIN = {"study": "letters", "layer": 0, "index": 1}


def whole_matrix(model):
    """Return all dot products at once, [d_vocab, n_layers * d_mlp]."""
    w_out = torch.cat([block.mlp.W_out for block in model.blocks])
    return model.W_E @ w_out.T


def check_neurons(found, matrix, k):
    expected = matrix.topk(k, dim=-1)
    torch.testing.assert_close(found.value, expected.values, atol=1e-5, rtol=0)
    assert torch.equal(found.layer * D_MLP + found.index, expected.indices)


def check_tokens(found, matrix, k):
    expected = matrix.T.unflatten(0, (-1, D_MLP)).topk(k, dim=-1)  # [layer, d_mlp, k]
    torch.testing.assert_close(found.value, expected.values, atol=1e-5, rtol=0)
    assert torch.equal(found.token, expected.indices)


def dot(one, other):
    return sum(float(a) * float(b) for a, b in zip(one, other, strict=True))


def test_a_neuron_is_aligned_by_dot_products_of_hugging_faces_weights(tiny):
    found = neuron_congruence(tiny.raw, 1, 5)
    w_out = tiny.w_out(1)[5]
    unembedding = tiny.hugging_face.get_output_embeddings().weight
    embedding = tiny.hugging_face.get_input_embeddings().weight
    assert found.W_out_dot_W_U.tolist() == pytest.approx([dot(w_out, row) for row in unembedding], abs=1e-4)
    assert found.W_out_dot_W_E.tolist() == pytest.approx([dot(w_out, row) for row in embedding], abs=1e-4)


def test_input_weights_are_aligned_with_the_embedding(tiny_gpt2):
    w_in = tiny_gpt2.module(1, "mlp.c_fc").weight[:, 5]
    embedding = tiny_gpt2.hugging_face.get_input_embeddings().weight
    expected = [dot(w_in, row) for row in embedding]
    assert neuron_congruence(tiny_gpt2.raw, 1, 5).W_in_dot_W_E.tolist() == pytest.approx(expected, abs=1e-4)


def test_processed_weights_write_folded_and_centred_logits(tiny_gpt2):
    found = neuron_congruence(tiny_gpt2.processed, 0, 3).W_out_dot_W_U
    w_out = tiny_gpt2.w_out(0)[3]
    folded = tiny_gpt2.hugging_face.lm_head.weight * tiny_gpt2.final_norm().weight
    written = folded @ (w_out - w_out.mean())
    assert found.tolist() == pytest.approx((written - written.mean()).tolist(), abs=1e-4)


def test_micro_alignments_are_worked_out_by_hand(micro):
    found = [neuron_congruence(micro.raw, 0, index) for index in range(3)]
    # Writes (4, 0, 0), (-2, -2, 0), (0, 0, 1); a dot product is 4 times that of the coordinates.
    assert found[0].W_out_dot_W_U.tolist() == [0, 0, 0, 120, 0]
    assert found[1].W_out_dot_W_U.tolist() == [0, 0, 0, -90, 0]
    assert found[0].W_out_dot_W_E.tolist() == [16, 0, 0, 32, 0]
    assert found[1].W_out_dot_W_E.tolist() == [-8, -24, 0, -16, 0]
    assert found[0].W_in_dot_W_E.tolist() == [0, 3, 0, 0, 0]


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
def test_the_best_of_a_micro_model_are_worked_out_by_hand_the_lowest_of_equal_ones_first(micro, chunk):
    neurons, tokens = rank_congruence(micro.raw, chunk=chunk)
    # By token: (16, -8, 0), (0, -24, 0), (0, 0, 4), (32, -16, 0), (0, 0, -4).
    assert neurons.value.tolist() == [[16, 0], [0, 0], [4, 0], [32, 0], [0, 0]]
    assert neurons.index.tolist() == [[0, 2], [0, 2], [2, 0], [0, 2], [0, 1]]
    assert neurons.layer.tolist() == [[0, 0]] * 5
    assert tokens.value.tolist() == [[[32, 16], [0, 0], [4, 0]]]
    assert tokens.token.tolist() == [[[3, 0], [2, 4], [2, 0]]]


@pytest.mark.parametrize("chunk", [1, 2, 5])
def test_a_model_with_fewer_than_k_fills_up_with_minus_infinity(micro, chunk):
    neurons, tokens = rank_congruence(micro.raw, k=7, chunk=chunk)
    assert neurons.value[0].tolist() == [16, 0, -8] + 4 * [-math.inf]
    assert neurons.index[0].tolist() == [0, 2, 1, 0, 0, 0, 0]
    assert tokens.value[0, 0].tolist() == [32, 16, 0, 0, 0] + 2 * [-math.inf]
    assert tokens.token[0, 0].tolist() == [3, 0, 1, 2, 4, 0, 0]


@pytest.mark.parametrize("chunk", [1, 7, 25, 50, 1000])
@pytest.mark.parametrize("k", [1, 2, D_MLP + 5])
def test_the_best_are_those_of_the_whole_matrix(tiny_gpt2, chunk, k):
    neurons, tokens = rank_congruence(tiny_gpt2.processed, k, chunk)
    matrix = whole_matrix(tiny_gpt2.processed)
    check_neurons(neurons, matrix, k)
    check_tokens(tokens, matrix, k)
    assert {0, 1} == set(neurons.layer.unique().tolist())


def test_the_best_of_every_architecture(tiny):
    neurons, tokens = rank_congruence(tiny.processed, chunk=20)
    check_neurons(neurons, whole_matrix(tiny.processed), 2)
    check_tokens(tokens, whole_matrix(tiny.processed), 2)


def test_a_planted_neuron_is_found(tiny_gpt2):
    model, token = tiny_gpt2.load(), 33
    with torch.no_grad():
        model.blocks[1].mlp.W_out[17] = 20 * model.W_E[token]
    neurons, tokens = rank_congruence(model, k=1, chunk=7)
    assert (int(neurons.layer[token, 0]), int(neurons.index[token, 0])) == (1, 17)
    assert int(tokens.token[1, 17, 0]) == token
    product = pytest.approx(20 * float(model.W_E[token].detach().square().sum()), rel=1e-5)
    assert float(neurons.value[token, 0]) == float(tokens.value[1, 17, 0]) == product
    assert int(neuron_congruence(model, 1, 17).W_out_dot_W_E.argmax()) == token


def test_alignments_are_stored_beside_their_tokens(tmp_path, micro):
    vocabulary = micro.tokenizer.vocabulary(5)
    write_neuron_congruence(tmp_path / "neuron.h5", neuron_congruence(micro.raw, 0, 1), vocabulary, ORIGIN)
    write_top_neurons(tmp_path / "top.h5", rank_congruence(micro.raw)[0], vocabulary, ORIGIN)
    neuron, top = hdf5.read(tmp_path / "neuron.h5"), hdf5.read(tmp_path / "top.h5")
    assert dict(zip(neuron["token"], neuron["W_out_dot_W_U"].tolist(), strict=True))["c"] == -90
    assert neuron["W_out_dot_W_E"].tolist() == [-8, -24, 0, -16, 0]
    assert neuron["W_in_dot_W_E"].tolist() == [0, 0, 1, 0, -1]
    assert top["value"].tolist() == [[16, 0], [0, 0], [4, 0], [32, 0], [0, 0]]
    assert top["index"][[0, 2, 3], 0].tolist() == [0, 2, 0]
    assert top["layer"].tolist() == [[0, 0]] * 5


def test_the_best_tokens_are_stored_by_layer_and_neuron(tmp_path, micro):
    path = tmp_path / "top_tokens.h5"
    write_top_tokens(path, rank_congruence(micro.raw)[1], ORIGIN)
    table = hdf5.read(path)
    assert table["value"].tolist() == [[[32, 16], [0, 0], [4, 0]]]
    assert table["token"].tolist() == [[[3, 0], [2, 4], [2, 0]]]
    assert (table["value"].dtype, table["token"].dtype) == (np.float32, np.int32)
    assert table.attributes["study"] == "letters"
    with h5py.File(path) as file:
        assert {dataset.attrs["dims"] for dataset in file.values()} == {"layer d_mlp k"}
