import numpy as np
import pytest
import torch
from architectures import tiny_model

from an_neuron.corpus.associations import Association
from an_neuron.corpus.corpus_pass import record
from an_neuron.corpus.reader import Reader
from an_neuron.errors import UserError

TOKEN, LAYER, INDEX = 7, 1, 5
ROWS = np.random.default_rng(0).integers(1, 50, (5, 9)).astype(np.int32)
ROWS[:, 0] = 0


def associations_of(*triples):
    return [Association(f"token {token}", token, layer, index, "listed") for token, layer, index in triples]


ASSOCIATIONS = associations_of((TOKEN, LAYER, INDEX), (8, 0, 3), (TOKEN, 1, 2), (9, 0, 0))
TOKENS = [7, 8, 9]


def recorded(model, rows, associations=ASSOCIATIONS, readout="unembedding", precision="highest", **options):
    """Return activations, margins and top predictions of all rows, and how many rows came at once."""
    parts = list(record(Reader(model, associations, readout, precision), rows, **options))
    joined = (
        np.concatenate([getattr(part, name) for part in parts], axis=-2)
        for name in ("activation", "margin", "top_prediction")
    )
    return *joined, [len(part.top_prediction) for part in parts]


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


def test_unembedding_margins_of_every_token_are_those_of_whole_logits(tiny):
    _, margin, top, _ = recorded(tiny.raw, ROWS)
    logits = np.stack([tiny.logits(row).numpy() for row in ROWS.astype(int)])
    assert margin.shape == (3, *ROWS.shape)
    for token, found in zip(TOKENS, margin, strict=True):
        assert found == pytest.approx(margins(logits, token), abs=2e-5)
    assert (top == logits.argmax(-1)).all()


def test_embedding_margins_leave_out_the_final_norms_weights(tiny):
    _, margin, top, _ = recorded(tiny.raw, ROWS, readout="embedding")
    embedding = tiny.hugging_face.get_input_embeddings().weight.double().numpy()
    logits = normalised(tiny) @ embedding.T
    assert margin[0] == pytest.approx(margins(logits, TOKEN), abs=2e-5)
    assert (top == logits.argmax(-1)).all()
    assert abs(margin - recorded(tiny.raw, ROWS)[1]).max() > 0.1


@pytest.mark.parametrize("readout", ["embedding", "unembedding"])
def test_answer_and_foil_are_compared_as_in_whole_logits(tiny, readout):
    """Over the whole vocabulary, the part that the tokenizer does not know included."""
    foil = 11
    (part,) = record(Reader(tiny.raw, ASSOCIATIONS, readout, foil=foil), ROWS)
    if readout == "unembedding":
        logits = np.stack([tiny.logits(row).double().numpy() for row in ROWS.astype(int)])
    else:
        logits = normalised(tiny) @ tiny.hugging_face.get_input_embeddings().weight.double().numpy().T
    probability = np.exp(logits - logits.max(-1, keepdims=True))
    probability /= probability.sum(-1, keepdims=True)
    assert part.logit_difference == pytest.approx(logits[..., TOKEN] - logits[..., foil], abs=4e-5)
    assert part.expected == pytest.approx(probability[..., TOKEN] + probability[..., foil], abs=1e-5)
    for found, expected in zip((part.activation, part.margin), recorded(tiny.raw, ROWS, readout=readout), strict=False):
        assert (found == expected).all(), "what else is read stays as it is, bit for bit"


def test_without_a_foil_nothing_is_compared(tiny_gpt2):
    (part,) = record(Reader(tiny_gpt2.raw, ASSOCIATIONS, "unembedding"), ROWS)
    assert part.logit_difference is None
    assert part.expected is None


def test_a_foil_that_the_model_does_not_have_is_refused(tiny_gpt2):
    with pytest.raises(UserError, match="Token 50 is beyond"):
        Reader(tiny_gpt2.raw, ASSOCIATIONS, "unembedding", foil=50)


@pytest.mark.parametrize("readout", ["embedding", "unembedding"])
def test_activations_are_what_the_down_projections_read(tiny, readout):
    activation = recorded(tiny.raw, ROWS, readout=readout)[0]
    assert activation.shape == (4, *ROWS.shape)
    for association, found in zip(ASSOCIATIONS, activation, strict=True):
        module = tiny.module(association.layer, tiny.parts.down)
        expected = tiny.inputs(module, ROWS.astype(np.int64))[..., association.index]
        assert found == pytest.approx(expected.numpy(), abs=1e-5, rel=1e-5)


def test_neurons_of_gated_mlps_are_signed(tiny):
    reader, activation = Reader(tiny.raw, ASSOCIATIONS, "unembedding"), recorded(tiny.raw, ROWS)[0]
    assert reader.signed == (tiny.name not in ("gpt2", "gpt_neox"))
    assert reader.signed == (activation.min() < -0.2), "GELU is nowhere below -0.17"


@pytest.mark.parametrize("readout", ["embedding", "unembedding"])
@pytest.mark.parametrize(("size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (7, [5])])
def test_batches_hold_as_many_rows_as_asked_and_change_nothing(tiny_gpt2, readout, size, sizes):
    *found, lengths = recorded(tiny_gpt2.raw, ROWS, readout=readout, size=size)
    *expected, _ = recorded(tiny_gpt2.raw, ROWS, readout=readout)
    assert lengths == sizes
    for part, whole in zip(found, expected, strict=True):
        assert part == pytest.approx(whole, abs=1e-5, rel=1e-5)


def test_some_rows_are_those_rows_bit_for_bit(tiny):
    whole = recorded(tiny.raw, ROWS, size=2)
    for first, upto in ((0, 2), (2, 5), (1, 4), (1, 2), (4, 5)):
        part = recorded(tiny.raw, ROWS, first=first, upto=upto, size=2)
        for found, expected in zip(part[:3], whole[:3], strict=True):
            assert (found == expected[..., first:upto, :]).all()


@pytest.mark.parametrize("readout", ["embedding", "unembedding"])
@pytest.mark.parametrize("block", [1, 7, 8, 49])
def test_logits_of_a_block_of_the_vocabulary_at_a_time_change_nothing(tiny, monkeypatch, block, readout):
    whole = recorded(tiny.raw, ROWS, readout=readout)
    monkeypatch.setattr("an_neuron.corpus.readout.BLOCK", block)
    *found, _ = recorded(tiny.raw, ROWS, readout=readout)
    for part, expected in zip(found[:2], whole[:2], strict=True):
        assert part == pytest.approx(expected, abs=2e-5)
    assert (found[2] == whole[2]).all()


def test_a_row_longer_than_attention_windows_is_read_as_hugging_face_does(tiny_of):
    """Mistral's and Gemma 2's windows are 4 wide, and Gemma 2 caps the scores, which SDPA cannot."""
    for name in ("mistral", "gemma2"):
        tiny = tiny_of(name)
        rows = np.arange(1, 31, dtype=np.int32)[None]
        logits = tiny.logits(rows[0].tolist()).numpy()
        assert recorded(tiny.raw, rows)[1][0, 0] == pytest.approx(margins(logits, TOKEN), abs=2e-5)


@pytest.mark.parametrize("readout", ["embedding", "unembedding"])
def test_bfloat16_is_near_and_high_is_nearer(tiny, readout):
    expected = recorded(tiny.raw, ROWS, readout=readout)
    size = [abs(part).max() for part in expected[:2]]
    for precision, share in (("high", 2e-3), ("bfloat16", 5e-2)):
        found = recorded(tiny.load(), ROWS, readout=readout, precision=precision)
        for part, whole, largest in zip(found[:2], expected[:2], size, strict=True):
            assert part.dtype == np.float32
            assert abs(part - whole).max() <= share * largest
    assert abs(found[0] - expected[0]).max() > 0  # it was bfloat16


def test_bfloat16_leaves_the_bridge_as_it_was(tiny_gpt2):
    model = tiny_gpt2.load()
    Reader(model, ASSOCIATIONS, "unembedding", "bfloat16")
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_a_device_out_of_memory_gets_half_the_rows(tiny_gpt2, monkeypatch, caplog, refusal):
    expected = recorded(tiny_gpt2.raw, ROWS, size=1)
    read, sizes = Reader.read, []

    def small(self, ids):
        if len(ids) > 1:
            raise refusal
        sizes.append(len(ids))
        return read(self, ids)

    monkeypatch.setattr(Reader, "read", small)
    found = recorded(tiny_gpt2.raw, ROWS, size=4)
    assert sizes == [1] * 5
    assert (found[1] == expected[1]).all()
    assert "going on with 2 rows at a time" in caplog.text

    def none(self, ids):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(Reader, "read", none)
    with pytest.raises(UserError, match="Not even one row"):
        recorded(tiny_gpt2.raw, ROWS, size=4)


def test_micro_margins_are_worked_out_by_hand(micro):
    rows = np.array([[0, 1], [0, 2]], dtype=np.int32)
    associations = associations_of((3, 0, 0), (4, 0, 1))
    activation, margin, top, _ = recorded(micro.raw, rows, associations)
    assert activation.tolist() == [[[0, 1], [0, 0]], [[0, 0], [0, 1]]]
    # Logits of token 3: 36 39 36 -24; of token 4: 0 0 0 5; of the others 0.
    assert margin[0].flatten().tolist() == pytest.approx([36, 39, 36, -29], abs=1e-5)
    assert margin[1].flatten().tolist() == pytest.approx([-36, -39, -36, 5], abs=1e-5)
    assert top.tolist() == [[3, 3], [3, 4]]
    # Embeddings (1, 0, 0), (0, 3, 0), (0, 0, 1), (2, 0, 0), (0, 0, -1), times 4, dot the normalised streams, which are
    # (1, 0, 0) at BOS, (4, 3, 0)/5 and (-2, -2, 1)/3.
    _, margin, top, _ = recorded(micro.raw, rows, associations, "embedding")
    assert margin[0].flatten().tolist() == pytest.approx([8 - 4, 6.4 - 7.2, 8 - 4, -16 / 3 - 4 / 3], abs=1e-5)
    assert top.tolist() == [[3, 1], [3, 2]]


def test_broken_weights_are_refused_with_the_place(micro):
    model = micro.load()
    with torch.no_grad():
        model.W_E[4] = torch.nan
    rows = np.array([[0, 1]] * 3 + [[0, 4], [0, 1]], dtype=np.int32)
    parts = record(Reader(model, associations_of((3, 0, 0)), "unembedding"), rows, size=2)
    assert next(parts).margin[0, :, 1].tolist() == pytest.approx([39, 39])
    with pytest.raises(UserError, match="activation of neuron 0 of layer 0 is nan in row 3 of the corpus at position"):
        next(parts)


def test_a_model_without_finite_logits_is_refused_at_once(micro):
    model = micro.load()
    with torch.no_grad():
        model.W_E[2] = torch.nan
    with pytest.raises(UserError, match="logits are not finite numbers; its weights may be damaged"):
        Reader(model, associations_of((3, 0, 0)), "unembedding")


def test_ids_beyond_the_vocabulary_are_refused_with_the_place(tiny_gpt2):
    for wrong in (50, -1):
        rows = ROWS.copy()
        rows[3, 4] = wrong
        with pytest.raises(UserError, match=rf"Row 3 of the corpus has token {wrong} at position 4.* vocabulary of 50"):
            recorded(tiny_gpt2.raw, rows, size=2)


@pytest.mark.parametrize(
    ("triple", "said"),
    [
        ((50, 0, 0), "Token 50 is beyond"),
        ((1, 2, 0), "no neuron 0 of layer 2"),
        ((1, 0, 24), "no neuron 24 of layer 0"),
    ],
)
def test_associations_that_the_model_does_not_have_are_refused(tiny_gpt2, triple, said):
    with pytest.raises(UserError, match=said):
        Reader(tiny_gpt2.raw, associations_of(triple), "unembedding")


@pytest.mark.parametrize("options", [("embeddings", "highest"), ("embedding", "float16")])
def test_unknown_readouts_and_precisions_are_refused(tiny_gpt2, options):
    with pytest.raises(UserError, match=options[0]):
        Reader(tiny_gpt2.raw, ASSOCIATIONS, *options)


@pytest.mark.parametrize("readout", ["embedding", "unembedding"])
@pytest.mark.parametrize("name", ["GPTJForCausalLM", "BloomForCausalLM", "OPTForCausalLM", "OlmoForCausalLM"])
def test_architectures_with_attention_rows_or_norms_of_their_own_are_read(bridge_of, name, readout):
    """GPT-J and BLOOM have no SDPA, OPT runs rows and positions as one axis, OLMo's norm has no weights."""
    bridge, model = bridge_of(name), tiny_model(name)
    activation, margin, _, _ = recorded(bridge, ROWS, associations_of((TOKEN, 1, INDEX)), readout)
    seen = []
    down = {"GPTJ": "fc_out", "Bloo": "dense_4h_to_h", "OPTF": "fc2", "Olmo": "down_proj"}[name[:4]]
    modules = [
        module for path, module in model.named_modules() if path.endswith(f".1.{down}") or f".1.mlp.{down}" in path
    ]
    with torch.inference_mode():
        handle = modules[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].view(*ROWS.shape, -1)))
        logits = model(torch.as_tensor(ROWS.astype(int)), use_cache=False).logits
        handle.remove()
    assert activation[0] == pytest.approx(seen[0][..., INDEX].numpy(), abs=1e-5)
    if readout == "unembedding":
        assert margin[0] == pytest.approx(margins(logits.numpy(), TOKEN), abs=1e-4)
    assert np.isfinite(margin).all()
