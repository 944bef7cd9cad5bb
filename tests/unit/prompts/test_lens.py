import numpy as np
import pytest
import torch

from an_neuron.files import hdf5
from an_neuron.model.loading import process_weights
from an_neuron.prompts.lens import LogitLens, logit_lens, write_lens

IDS = [0, 3, 4, 5, 6, 8, 9]
ANSWER, FOIL = 7, 11


def streams(tiny):
    """Return the residual stream of Hugging Face's model at the last position, before each block and norm."""
    modules = []
    for layer in range(2):
        modules.append(tiny.module(layer, ""))
        if tiny.parts.mid and tiny.name != "gpt_neox":
            modules.append(tiny.module(layer, tiny.parts.mid))
    return np.stack([tiny.inputs(module, IDS)[0, -1].double() for module in (*modules, tiny.final_norm())])


def notebook_curve(tiny):
    """Return the lens by the norm's definition: centre, scale as at the end, weigh, dot the unembedding difference."""
    stack, norm = streams(tiny), tiny.final_norm()
    weight = norm.weight.double().numpy()
    if tiny.name == "gemma2":
        weight = 1 + weight
    if tiny.name in ("gpt2", "gpt_neox"):
        stack = stack - stack.mean(1, keepdims=True)
    epsilon = getattr(norm, "eps", None) or norm.variance_epsilon
    scale = np.sqrt((stack[-1] ** 2).mean() + epsilon)
    unembedding = tiny.hugging_face.get_output_embeddings().weight.double().numpy()
    return stack / scale * weight @ (unembedding[ANSWER] - unembedding[FOIL])


def parts_of_the_stream(model, cache):
    """Yield what is added to the residual stream at the last position, each [d_model]."""
    yield cache["hook_embed"][0, -1]
    yield cache["hook_pos_embed"][0, -1]
    for layer, block in enumerate(model.blocks):
        heads = cache[f"blocks.{layer}.attn.hook_z"][0, -1].reshape(-1)
        yield heads @ block.attn.W_O.reshape(len(heads), -1)
        yield block.attn.b_O
        yield cache[f"blocks.{layer}.mlp.hook_post"][0, -1] @ block.mlp.W_out
        yield block.mlp.b_out


def test_the_curve_is_the_notebooks_worked_out_from_hidden_states(tiny):
    lens = logit_lens(tiny.processed, IDS, ANSWER, FOIL)
    curve = notebook_curve(tiny)
    assert lens.logit_difference.numpy() == pytest.approx(curve, abs=2e-5)
    assert np.abs(np.diff(curve)).min() > 1e-3, "every point differs from the one before it"


def test_points_are_half_a_layer_apart_where_there_is_a_middle(tiny_gpt2):
    lens = logit_lens(tiny_gpt2.processed, IDS, ANSWER, FOIL)
    assert lens.labels == ["0_pre", "0_mid", "1_pre", "1_mid", "final_post"]
    assert lens.x == [0, 0.5, 1, 1.5, 2]


def test_parallel_attention_has_no_middle_points(tiny_of):
    lens = logit_lens(tiny_of("gpt_neox").processed, IDS, ANSWER, FOIL)
    assert lens.labels == ["0_pre", "1_pre", "final_post"]
    assert lens.x == [0, 1, 2]


def test_last_point_and_bias_make_the_models_own_difference(tiny):
    lens = logit_lens(tiny.processed, IDS, ANSWER, FOIL)
    logits = tiny.logits(IDS)[-1]
    if tiny.name == "gemma2":  # caps its logits; the lens reads what is capped
        logits = 30 * torch.atanh(logits / 30)
        capped = tiny.logits(IDS)[-1]
        assert lens.model == pytest.approx(float(capped[ANSWER] - capped[FOIL]), abs=1e-5)
    else:
        assert lens.model == pytest.approx(float(logits[ANSWER] - logits[FOIL]), abs=1e-5)
    assert float(lens.logit_difference[-1]) + lens.bias == pytest.approx(float(logits[ANSWER] - logits[FOIL]), abs=2e-5)


def test_the_bias_is_the_final_norms_bias_unembedded(tiny_gpt2):
    lens = logit_lens(tiny_gpt2.processed, IDS, ANSWER, FOIL)
    unembedding = tiny_gpt2.hugging_face.lm_head.weight
    bias = tiny_gpt2.final_norm().bias @ (unembedding[ANSWER] - unembedding[FOIL])
    assert lens.bias == pytest.approx(float(bias), abs=1e-5)
    assert abs(lens.bias) > 0.1
    rms = logit_lens(tiny_gpt2.processed, IDS, FOIL, ANSWER)
    assert rms.bias == pytest.approx(-lens.bias)


def test_parts_of_the_stream_sum_to_the_logits(tiny_gpt2):
    model = tiny_gpt2.processed
    with torch.inference_mode():
        logits, cache = model.run_with_cache(torch.tensor([IDS]))
        total = torch.stack(list(parts_of_the_stream(model, cache))).sum(0)
        logit = total / total.var(unbiased=False).add(1e-5).sqrt() @ model.W_U + model.b_U
    assert logit.numpy() == pytest.approx(logits[0, -1].numpy(), abs=2e-5)
    lens = logit_lens(model, IDS, ANSWER, FOIL)
    assert float(logit[ANSWER] - logit[FOIL]) == pytest.approx(float(lens.logit_difference[-1]) + lens.bias, abs=2e-5)


@pytest.mark.parametrize(("token", "curve", "model"), [(1, [9, 9, 33], 39), (2, [-5, -5, -35], -29)])
def test_micro_lens_is_worked_out_by_hand(micro, token, curve, model):
    # 30a + 15b - 15c of (0, 3, 0)/5 and (4, 3, 0)/5; of (0, 0, 1)/3 and (-2, -2, 1)/3.
    bridge = micro.load()
    process_weights(bridge)
    lens = logit_lens(bridge, [0, token], answer=3, foil=4)
    assert lens.logit_difference.tolist() == pytest.approx(curve, abs=1e-5)
    assert lens.bias == pytest.approx(6, abs=1e-5)
    assert lens.model == pytest.approx(model, abs=1e-5)


def test_the_lens_is_stored_with_its_mean(tmp_path):
    path = tmp_path / "logit_lens.h5"
    origin = {"answer": "c", "foil": "d", "answer_id": 3, "foil_id": 4}
    lenses = [LogitLens(["0_pre", "final_post"], [0.0, 1.0], torch.tensor([value, 4.0]), 0.5, 4.5) for value in (1, 2)]
    write_lens(path, lenses, origin)
    table = hdf5.read(path)
    assert table["point_label"].tolist() == ["0_pre", "final_post"]
    assert table["logit_difference"].tolist() == [[1, 4], [2, 4]]
    assert table["mean_logit_difference"].tolist() == [1.5, 4]
    assert (table["bias"].tolist(), table["model_logit_difference"].tolist()) == ([0.5, 0.5], [4.5, 4.5])
