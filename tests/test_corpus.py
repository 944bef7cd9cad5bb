import numpy as np
import pytest
import torch

from an_neuron.corpus import margin_and_top, record
from an_neuron.errors import UserError
from an_neuron.rows import token_rows

TOKEN, LAYER, INDEX = 7, 1, 5
ROWS = np.random.default_rng(0).integers(1, 50, (5, 9)).astype(np.int32)
ROWS[:, 0] = 0


def recorded(model, rows, layer, index, token, readout, **options):
    """Return activation, margin and top prediction of all rows, and how many rows came at once."""
    parts = list(record(model, rows, layer, index, token, readout, **options))
    joined = (torch.cat([getattr(part, name) for part in parts]) for name in ("activation", "margin", "top_prediction"))
    return *joined, [len(part.activation) for part in parts]


def margins(logits, token):
    others = np.delete(logits, token, axis=-1)
    return logits[..., token] - others.max(-1)


def normalised(tiny):
    """Return the final residual stream over its scale, without the norm's own weight and bias."""
    norm = tiny.final_norm()
    stream = tiny.inputs(norm, ROWS.astype(np.int64)).double().numpy()
    if tiny.name in ("gpt2", "gpt_neox"):
        stream = stream - stream.mean(-1, keepdims=True)
    epsilon = getattr(norm, "eps", None) or norm.variance_epsilon
    return stream / np.sqrt((stream**2).mean(-1, keepdims=True) + epsilon)


def test_unembedding_margins_are_those_of_whole_logits(tiny):
    _, margin, top, _ = recorded(tiny.raw, ROWS, LAYER, INDEX, TOKEN, "unembedding")
    logits = np.stack([tiny.logits(row).numpy() for row in ROWS.astype(int)])
    assert margin.numpy() == pytest.approx(margins(logits, TOKEN), abs=2e-5)
    assert (top.numpy() == logits.argmax(-1)).all()


def test_embedding_margins_leave_out_the_final_norms_weights(tiny):
    _, margin, top, _ = recorded(tiny.raw, ROWS, LAYER, INDEX, TOKEN, "embedding")
    embedding = tiny.hugging_face.get_input_embeddings().weight.double().numpy()
    logits = normalised(tiny) @ embedding.T
    assert margin.numpy() == pytest.approx(margins(logits, TOKEN), abs=2e-5)
    assert (top.numpy() == logits.argmax(-1)).all()
    other = recorded(tiny.raw, ROWS, LAYER, INDEX, TOKEN, "unembedding")[1]
    assert float((margin - other).abs().max()) > 0.1


def test_the_activation_is_what_the_down_projection_reads(tiny):
    module = tiny.module(LAYER, tiny.parts.down)
    expected = tiny.inputs(module, ROWS.astype(np.int64))[..., INDEX]
    for readout in ("embedding", "unembedding"):
        activation = recorded(tiny.raw, ROWS, LAYER, INDEX, TOKEN, readout)[0]
        torch.testing.assert_close(activation, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("readout", ["embedding", "unembedding"])
@pytest.mark.parametrize(("tokens", "sizes"), [(1, [1] * 5), (18, [2, 2, 1]), (26, [2, 2, 1]), (1000, [5])])
def test_batches_hold_as_many_rows_as_fit_and_change_nothing(tiny_gpt2, readout, tokens, sizes):
    *found, lengths = recorded(tiny_gpt2.raw, ROWS, LAYER, INDEX, TOKEN, readout, tokens_a_batch=tokens)
    *expected, _ = recorded(tiny_gpt2.raw, ROWS, LAYER, INDEX, TOKEN, readout)
    assert lengths == sizes
    for part, whole in zip(found, expected, strict=True):
        torch.testing.assert_close(part, whole, atol=1e-5, rtol=1e-5)


def test_micro_margins_are_worked_out_by_hand(micro):
    rows = np.array([[0, 1], [0, 2]], dtype=np.int32)
    activation, margin, top, _ = recorded(micro.raw, rows, 0, 0, 3, "unembedding")
    assert activation.tolist() == [[0, 1], [0, 0]]
    assert margin.flatten().tolist() == pytest.approx([36, 39, 36, -29], abs=1e-5)  # the other logits: 0 0 0 5
    assert top.tolist() == [[3, 3], [3, 4]]
    # Embeddings (1, 0, 0), (0, 3, 0), (0, 0, 1), (2, 0, 0), (0, 0, -1), times 4, dot the normalised streams, which are
    # (1, 0, 0) at BOS, (4, 3, 0)/5 and (-2, -2, 1)/3.
    _, margin, top, _ = recorded(micro.raw, rows, 0, 0, 3, "embedding")
    assert margin.flatten().tolist() == pytest.approx([8 - 4, 6.4 - 7.2, 8 - 4, -16 / 3 - 4 / 3], abs=1e-5)
    assert top.tolist() == [[3, 1], [3, 2]]


def test_the_margin_of_the_top_token_is_over_the_second():
    logits = torch.tensor([[-1.0, 5.0, -3.0], [4.0, -1.0, 4.5], [2.0, 2.0, 0.0]])
    margin, top = margin_and_top(logits, 1)
    assert margin.tolist() == [6.0, -5.5, 0.0]
    assert top[:2].tolist() == [1, 2]


def test_broken_weights_are_refused_with_the_rows(micro):
    model = micro.load()
    with torch.no_grad():
        model.W_E[2] = torch.nan
    rows = np.array([[0, 1]] * 2 + [[0, 1], [0, 2]] + [[0, 1]], dtype=np.int32)
    parts = record(model, rows, 0, 0, 3, "unembedding", tokens_a_batch=4)
    assert next(parts).margin[:, 1].tolist() == pytest.approx([39, 39])
    with pytest.raises(UserError, match="rows 2 to 3 of the corpus"):
        next(parts)


def test_rows_begin_with_bos_and_drop_the_remainder(tiny_gpt2):
    rows = token_rows(tiny_gpt2.tokenizer, "abcdefghijk", n_ctx=5)
    assert rows.tolist() == [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8]]
    assert rows.dtype == np.int32


def test_a_text_of_exactly_one_row_is_enough(tiny_gpt2):
    assert token_rows(tiny_gpt2.tokenizer, "abcd", n_ctx=5).tolist() == [[0, 1, 2, 3, 4]]


def test_a_text_shorter_than_a_row_is_refused(tiny_gpt2):
    with pytest.raises(UserError, match=r"has 3 tokens, fewer than the 4 of one row.*n_ctx"):
        token_rows(tiny_gpt2.tokenizer, "abc", n_ctx=5)
