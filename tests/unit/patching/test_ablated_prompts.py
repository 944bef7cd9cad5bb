import pytest
import torch
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.files import hdf5
from an_neuron.model.loading import process_weights
from an_neuron.patching.ablated_prompts import (
    INTERVENTIONS,
    ablated_prompts_frame,
    is_centred,
    predict_ablated,
    write_ablated_prompts,
)
from an_neuron.prompts.predictions import last_logits, predict, prediction

IDS = [0, 3, 4, 5, 6, 8, 9]
FACTORS = {"none": 1.0, "zero": 0.0, "negated": -1.0}
ORIGIN = {"answer": "c", "foil": "d", "answer_id": 3, "foil_id": 4, "neuron_layer": 0, "neuron_index": 0}


def hooked_logits(bridge, layer, index, factor):
    """Return what TransformerLens' own hook at the neurons gives at the last position."""

    def scale(activation, hook):
        activation[..., index] *= factor
        return activation

    ids = torch.tensor([IDS])
    return bridge.run_with_hooks(ids, fwd_hooks=[(f"blocks.{layer}.mlp.hook_post", scale)])[0, -1].float().cpu()


@torch.inference_mode()
def test_predictions_are_those_of_transformer_lens_hooks_with_processed_weights(tiny):
    """Logits themselves, not only their differences: of the weights of which the other predictions are told."""
    ((runs,), own) = predict_ablated(tiny.raw, [IDS], (1, 5), (7, 11), 5, tiny.processing)
    for found, factor in zip(runs, FACTORS.values(), strict=True):
        expected = prediction(hooked_logits(tiny.processed, 1, 5, factor), 7, 11, 5)
        assert found.top_id.tolist() == expected.top_id.tolist()
        torch.testing.assert_close(found.top_logit, expected.top_logit, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.top_probability, expected.top_probability, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(found.logit, expected.logit, atol=1e-4, rtol=1e-4)
        assert found.rank.tolist() == expected.rank.tolist()
    assert runs[0].top_logit.tolist() != pytest.approx(runs[2].top_logit.tolist(), abs=1e-3)
    activation = tiny.inputs(tiny.module(1, tiny.parts.down), IDS)[0, -1, 5]
    assert own == [pytest.approx(float(activation), abs=1e-5)]


def test_the_neuron_as_it_is_gives_the_predictions_without_any_hook(tiny):
    runs = predict_ablated(tiny.raw, [IDS], (0, 3), (7, 11), 5, tiny.processing)[0][0]
    expected = predict(tiny.processed, IDS, 7, 11, 5)
    assert list(INTERVENTIONS) == list(FACTORS)
    assert runs[0].top_id.tolist() == expected.top_id.tolist()
    torch.testing.assert_close(runs[0].top_logit, expected.top_logit, atol=1e-4, rtol=1e-4)


def test_a_neuron_that_is_negated_everywhere_acts_through_attention_too(tiny_gpt2):
    """Negated at the last position alone it gives other logits: the whole prompt is meant."""
    runs = predict_ablated(tiny_gpt2.raw, [IDS], (0, 3), (7, 11), 5)[0][0]

    def last(activation, hook):
        activation[:, -1, 3] *= -1
        return activation

    with torch.inference_mode():
        ids = torch.tensor([IDS])
        alone = tiny_gpt2.raw.run_with_hooks(ids, fwd_hooks=[("blocks.0.mlp.hook_post", last)])[0, -1]
    assert runs[2].logit.tolist() != pytest.approx(alone[[7, 11]].tolist(), abs=1e-3)


def test_by_hand(micro):
    """The stream after token 1 is (4, 3, 0); without neuron 0 it is (0, 3, 0), against it (-4, 3, 0)."""
    ((clean, corrupted), own) = predict_ablated(micro.raw, [[0, 1], [0, 2]], (0, 0), (3, 4), 1)
    assert [run.logit_difference for run in clean] == pytest.approx([39, 15 + 6, -24 + 9 + 6], abs=1e-4)
    assert [run.top_id.tolist() for run in clean[:2]] == [[3], [3]]
    assert clean[2].rank.tolist()[0] == 4  # -9, below four zeros
    assert [run.logit_difference for run in corrupted] == pytest.approx([-29] * 3, abs=1e-4)
    assert own == pytest.approx([1, 0])


def test_logits_are_centred_where_the_weights_are(micro, bridge_of):
    runs = [predict_ablated(micro.raw, [[0, 1]], (0, 0), (3, 4), 1, flags)[0][0] for flags in ([], ["center_unembed"])]
    # 0 0 0 39 0 has the mean 7.8.
    expected = [pytest.approx(logits, abs=1e-4) for logits in ([39, 0], [31.2, -7.8])]
    assert [run[0].logit.tolist() for run in runs] == expected
    capped = bridge_of("Gemma2ForCausalLM")
    assert is_centred(micro.raw, ["center_unembed"])
    assert not is_centred(capped, ["center_unembed"])
    raw = last_logits(capped, IDS)
    process_weights(capped, ["fold_ln", "center_writing_weights", "center_unembed"])
    torch.testing.assert_close(last_logits(capped, IDS), raw, atol=1e-4, rtol=1e-4)
    assert isinstance(capped, TransformerBridge)


def test_they_are_stored_with_their_texts(tmp_path, micro):
    path = tmp_path / "prompts.h5"
    prompts = [[0, 1], [0, 2]]
    ablated = predict_ablated(micro.raw, prompts, (0, 0), (3, 4), 2)
    write_ablated_prompts(path, *ablated, prompts, ["clean", "corrupted"], micro.tokenizer, ORIGIN)
    table = hdf5.read(path)
    assert table["text"].tolist() == ["a", "b"]
    assert table["intervention"].tolist() == ["none", "zero", "negated"]
    assert table["top_token"].shape == (2, 3, 2)
    assert table["logit_difference"].tolist() == [pytest.approx([39, 21, -9], abs=1e-4), pytest.approx([-29] * 3)]
    frame = ablated_prompts_frame(table)
    assert len(frame) == 2 * 3 * 2
    negated = frame[(frame["prompt"] == "clean") & (frame["intervention"] == "negated")]
    assert negated["rank"].tolist() == [0, 1]
    assert negated["logit_difference"].tolist() == pytest.approx([-9, -9])
    assert negated["probability_of_answer"].tolist() == pytest.approx([3.1e-5] * 2, abs=1e-6)  # exp(-9) / 4
    assert frame["token"][0] == "'c'"
