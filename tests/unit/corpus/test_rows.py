import numpy as np
import pytest

from an_neuron.corpus.rows import row_length, token_rows
from an_neuron.errors import UserError
from an_neuron.model.folder import Shape


def test_rows_begin_with_bos_and_drop_the_remainder(tiny_gpt2):
    rows = token_rows(tiny_gpt2.tokenizer, "abcdefghijk", n_ctx=5, d_vocab=50)
    assert rows.tolist() == [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8]]
    assert rows.dtype == np.int32


def test_a_text_of_exactly_one_row_is_enough(tiny_gpt2):
    assert token_rows(tiny_gpt2.tokenizer, "abcd", n_ctx=5, d_vocab=50).tolist() == [[0, 1, 2, 3, 4]]


def test_a_text_shorter_than_a_row_is_refused(tiny_gpt2):
    with pytest.raises(UserError, match=r"has 3 tokens, fewer than the 4 of one row") as caught:
        token_rows(tiny_gpt2.tokenizer, "abc", n_ctx=5, d_vocab=50)
    assert caught.value.setting == "corpus: {n_ctx: 3}"


def test_a_tokenizer_of_another_model_is_refused(tiny_gpt2):
    with pytest.raises(UserError, match=r"makes token 4 \('d'\), beyond the model's vocabulary of 4"):
        token_rows(tiny_gpt2.tokenizer, "abcd", n_ctx=5, d_vocab=4)


def test_rows_are_as_long_as_the_model_reads_but_at_most_2048():
    shape = Shape(n_layers=2, d_model=4, d_mlp=8, n_ctx=131072, d_vocab=9)
    assert row_length(None, shape) == 2048
    assert row_length(512, shape) == 512
    assert row_length(0, Shape(2, 4, 8, 1024, 9)) == 1024
