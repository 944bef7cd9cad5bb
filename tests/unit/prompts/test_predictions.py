import pytest
import torch

from an_neuron.files import hdf5
from an_neuron.model.loading import process_weights
from an_neuron.prompts.predictions import last_logits, predict, predictions_frame, prompt_names, write_predictions

ORIGIN = {"study": "letters", "answer": "c", "foil": "d", "answer_id": 3, "foil_id": 4}
IDS = [0, 3, 4, 5, 6, 8, 9]


def test_logits_are_hugging_faces_own_at_the_last_position(tiny):
    torch.testing.assert_close(last_logits(tiny.raw, IDS), tiny.logits(IDS)[-1], atol=1e-5, rtol=1e-5)


def test_top_tokens_are_the_best_first_with_softmax_probabilities(tiny_gpt2):
    logits = tiny_gpt2.logits(IDS)[-1].double()
    found = predict(tiny_gpt2.raw, IDS, answer=7, foil=11, top_k=5)
    order = sorted(range(50), key=lambda token: -logits[token])
    assert found.top_id.tolist() == order[:5]
    assert found.top_logit.tolist() == pytest.approx(logits[order[:5]].tolist(), abs=1e-5)
    probabilities = logits.exp() / logits.exp().sum()
    assert found.top_probability.tolist() == pytest.approx(probabilities[order[:5]].tolist(), abs=1e-6)
    assert found.probability.tolist() == pytest.approx(probabilities[[7, 11]].tolist(), abs=1e-6)
    assert found.rank.tolist() == [order.index(7), order.index(11)]


def test_as_many_tokens_as_there_are_have_probability_one(tiny_gpt2):
    found = predict(tiny_gpt2.raw, IDS, answer=7, foil=11, top_k=1000)
    assert sorted(found.top_id.tolist()) == list(range(50))
    assert float(found.top_probability.sum()) == pytest.approx(1, abs=1e-6)


def test_micro_predictions_are_worked_out_by_hand(micro):
    clean = predict(micro.raw, [0, 1], answer=3, foil=4, top_k=1)  # logits 0 0 0 39 0
    assert (clean.top_id.tolist(), clean.logit.tolist()) == ([3], pytest.approx([39, 0], abs=1e-5))
    assert clean.logit_difference == pytest.approx(39)
    assert float(clean.probability[0]) == pytest.approx(1)
    corrupted = predict(micro.raw, [0, 2], answer=3, foil=4, top_k=1)  # logits 0 0 0 -24 5
    assert (corrupted.top_id.tolist(), corrupted.rank.tolist()) == ([4], [4, 0])
    assert corrupted.logit_difference == pytest.approx(-29)


def test_tied_tokens_share_the_better_rank(micro):
    found = predict(micro.raw, [0, 1], answer=0, foil=4, top_k=1)
    assert found.rank.tolist() == [1, 1]


def test_centred_logits_sum_to_zero_and_keep_differences_and_probabilities(tiny_gpt2):
    centred = tiny_gpt2.load()
    process_weights(centred, ["center_unembed"])
    raw, found = (predict(model, IDS, answer=7, foil=11, top_k=5) for model in (tiny_gpt2.raw, centred))
    assert float(last_logits(centred, IDS).sum()) == pytest.approx(0, abs=1e-4)
    assert abs(float(last_logits(tiny_gpt2.raw, IDS).sum())) > 0.1
    assert found.logit_difference == pytest.approx(raw.logit_difference, abs=1e-5)
    assert found.top_id.tolist() == raw.top_id.tolist()
    assert found.top_probability.tolist() == pytest.approx(raw.top_probability.tolist(), abs=1e-6)


def test_prompts_are_named_in_the_order_of_prediction():
    assert prompt_names(1, 2) == ["clean", "corrupted", "further 0", "further 1"]
    assert prompt_names(2, 0) == ["clean 0", "corrupted 0", "clean 1", "corrupted 1"]


def test_predictions_are_stored_with_their_texts(tmp_path, micro):
    path = tmp_path / "predictions.h5"
    prompts = [[0, 1], [0, 2]]
    predictions = [predict(micro.raw, ids, 3, 4, 2) for ids in prompts]
    write_predictions(path, predictions, prompts, ["clean", "corrupted"], micro.tokenizer, ORIGIN)
    table = hdf5.read(path)
    assert (table["text"].tolist(), table["length"].tolist()) == (["a", "b"], [2, 2])
    assert table["top_token"][:, 0].tolist() == ["c", "d"]
    assert table["top_logit"][:, 0].tolist() == pytest.approx([39, 5])
    assert table["logit"].ravel().tolist() == pytest.approx([39, 0, -24, 5], abs=1e-5)
    assert table["rank"].tolist() == [[0, 1], [4, 0]]
    assert table["logit_difference"].tolist() == pytest.approx([39, -29])
    frame = predictions_frame(table)
    assert frame["prompt"].tolist() == ["clean", "clean", "corrupted", "corrupted"]
    assert frame["rank"].tolist() == [0, 1, 0, 1]
    assert frame["token"][[0, 2]].tolist() == ["'c'", "'d'"]
    assert frame["answer_rank"].tolist() == [0, 0, 4, 4]
    assert frame["logit_difference"].tolist() == pytest.approx([39, 39, -29, -29], abs=1e-4)
