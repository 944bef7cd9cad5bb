import math

import pytest
import torch

from an_neuron.congruence.exclusive import EXCLUSIVE, mutually_exclusive, write_exclusive
from an_neuron.congruence.ranking import TopNeurons, TopTokens, rank_congruence, write_top_neurons, write_top_tokens
from an_neuron.files import hdf5

D_MLP = 2
VOCABULARY = [" an", "an", " the", ",", " so"]
# Dot products of five tokens with the neurons 0 and 1 of layer 0, and 0 and 1 of layer 1:
PRODUCTS = [
    [9, 1, 0, 4],  # " an": 5 above its second; its neuron is 1 above "an"
    [8, 2, 0, 0],  # "an": its best neuron has a better token
    [0, 7, 3, 1],  # " the": 4 above its second; its neuron is 5 above "an"
    [0, 0, 6, 6],  # ",": two best neurons
    [-2, -3, -4, 8],  # " so": 10 above its second; its neuron is 2 above ","
]
AN, THE, SO = (0, 0, 0), (2, 0, 1), (4, 1, 1)


@pytest.fixture
def stored(tmp_path):
    """Write the best of each token and neuron of a matrix, [d_vocab, n_layers * d_mlp], and read them back."""

    def store(products, vocabulary=VOCABULARY):
        matrix = torch.tensor(products, dtype=torch.float32)
        of_token, of_neuron = matrix.topk(2, dim=1), matrix.T.unflatten(0, (-1, D_MLP)).topk(2, dim=2)
        neurons = TopNeurons(of_token.values, of_token.indices // D_MLP, of_token.indices % D_MLP)
        return write(neurons, TopTokens(of_neuron.values, of_neuron.indices), vocabulary)

    def write(neurons, tokens, vocabulary):
        write_top_neurons(tmp_path / "top_neurons.h5", neurons, vocabulary, {})
        write_top_tokens(tmp_path / "top_tokens.h5", tokens, {})
        return hdf5.read(tmp_path / "top_neurons.h5"), hdf5.read(tmp_path / "top_tokens.h5")

    store.write = write
    return store


def test_mutually_best_associations_are_ranked_by_the_product_of_their_gaps(stored):
    read = stored(PRODUCTS)
    # 4 * 5 and 10 * 2 are equal, so the lower token id is first; 5 * 1 is the last.
    assert mutually_exclusive(*read, number=9) == [THE, SO, AN]
    assert [mutually_exclusive(*read, number) for number in (0, 1, 2)] == [[], [THE], [THE, SO]]


def test_a_larger_product_comes_first_whatever_the_token_id(stored):
    products = [*PRODUCTS[:4], [-2, -3, -4, 8.5]]  # 10.5 * 2.5
    assert mutually_exclusive(*stored(products), number=2) == [SO, THE]


def test_every_match_is_written_with_its_gaps(stored, tmp_path):
    write_exclusive(tmp_path / "exclusive.h5", *stored(PRODUCTS), {})
    table = hdf5.read(tmp_path / "exclusive.h5", EXCLUSIVE)
    assert table["token"].tolist() == [" the", " so", " an"]
    assert list(zip(*(table[name].tolist() for name in ("token_id", "layer", "index")), strict=True)) == [THE, SO, AN]
    assert table["token_gap"].tolist() == [4, 10, 5]
    assert table["neuron_gap"].tolist() == [5, 2, 1]
    assert table["product"].tolist() == [20, 20, 5]


def test_neither_of_two_equally_good_tokens_stands_out(stored):
    assert mutually_exclusive(*stored([[5, 1], [5, 0]], ["a", "b"]), number=2) == []


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_gap_that_is_no_number_does_not_win(stored, broken):
    neurons, tokens = stored(PRODUCTS)
    neurons["value"][2, 1] = broken
    assert mutually_exclusive(neurons, tokens, 9) == [SO, AN]
    tokens["value"][0, 0, 0] = broken
    assert mutually_exclusive(neurons, tokens, 9) == [SO]


def test_associations_of_a_micro_model(stored, micro):
    read = stored.write(*rank_congruence(micro.raw), micro.tokenizer.vocabulary(5))
    # Token c: 32 above neuron 2, 16 above token 0; token b: 4 and 4. Neuron 1 is nobody's best.
    assert mutually_exclusive(*read, number=5) == [(3, 0, 0), (2, 0, 2)]


def test_without_a_second_there_is_no_gap(stored):
    one = TopTokens(torch.tensor([[[3.0, -math.inf]]]), torch.zeros(1, 1, 2, dtype=torch.long))
    neurons = TopNeurons(torch.tensor([[3.0, -math.inf]]), *torch.zeros(2, 1, 2, dtype=torch.long))
    assert mutually_exclusive(*stored.write(neurons, one, ["a"]), number=1) == []


def test_associations_of_a_real_matrix_are_mutually_best(stored, tiny_gpt2):
    model = tiny_gpt2.processed
    read = stored.write(*rank_congruence(model), tiny_gpt2.tokenizer.vocabulary(50))
    matrix = (model.W_E @ torch.cat([block.mlp.W_out for block in model.blocks]).T).detach()
    expected = {}
    for token in range(50):
        neuron = int(matrix[token].argmax())
        if int(matrix[:, neuron].argmax()) == token:
            row, column = matrix[token].sort().values, matrix[:, neuron].sort().values
            expected[token, neuron // 24, neuron % 24] = float((row[-1] - row[-2]) * (column[-1] - column[-2]))
    found = mutually_exclusive(*read, number=50)
    assert len(found) > 1
    assert found == sorted(expected, key=expected.__getitem__, reverse=True)
