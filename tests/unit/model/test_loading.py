import json
import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from an_neuron.errors import UserError
from an_neuron.model import devices
from an_neuron.model.loading import load_model, process_weights

IDS = torch.tensor([[0, 3, 4, 5, 6]])


@pytest.fixture
def folder(tiny_gpt2, tmp_path):
    """A copy of a model's folder to damage."""
    return shutil.copytree(tiny_gpt2.folder, tmp_path / "model")


def save_without(folder, missing):
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if missing not in name}
    assert len(kept) == len(weights) - 1
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_loaded_model_is_hugging_faces_own(tiny):
    with torch.inference_mode():
        torch.testing.assert_close(tiny.raw(IDS)[0], tiny.logits(IDS[0].tolist()), atol=1e-5, rtol=1e-5)


def test_half_precision_weights_are_loaded_in_single(tiny_gpt2, folder):
    weights = load_file(folder / "model.safetensors")
    save_file({name: weight.half() for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "dtype": "float16"}))
    model = load_model(folder)
    assert model.W_E.dtype == torch.float32
    assert torch.equal(model.W_E, tiny_gpt2.raw.W_E.half().float())


def test_processing_keeps_differences_and_probabilities(tiny):
    with torch.inference_mode():
        raw, processed = tiny.raw(IDS)[0], tiny.processed(IDS)[0]
    torch.testing.assert_close(processed - processed[:, :1], raw - raw[:, :1], atol=3e-5, rtol=1e-5)
    torch.testing.assert_close(processed.softmax(-1), raw.softmax(-1), atol=1e-5, rtol=1e-5)


def test_each_flag_of_processing_does_what_it_says(tiny_gpt2):
    centred, folded = tiny_gpt2.load(), tiny_gpt2.load()
    process_weights(centred, ["center_writing_weights"])
    assert centred.blocks[1].mlp.W_out.mean(-1).detach().numpy() == pytest.approx(0, abs=1e-6)
    assert tiny_gpt2.raw.blocks[1].mlp.W_out.mean(-1).abs().max() > 0.05
    process_weights(folded, ["fold_ln"])
    raw, weight = tiny_gpt2.raw.W_U.detach(), tiny_gpt2.final_norm().weight
    scaled = weight[:, None] * raw
    difference = folded.W_U.detach() - scaled
    torch.testing.assert_close(difference, difference.mean(0, keepdim=True).expand_as(difference), atol=1e-5, rtol=0)


def test_no_processing_leaves_the_logits(tiny_gpt2):
    model = tiny_gpt2.load()
    process_weights(model, [])
    with torch.inference_mode():
        torch.testing.assert_close(model(IDS), tiny_gpt2.raw(IDS), atol=1e-5, rtol=1e-5)


def test_processing_that_is_not_possible_is_refused_with_the_reason(tiny_of):
    with pytest.raises(UserError, match=r"refuses processing \['refactor_factored_attn_matrices'\].*rotary"):
        process_weights(tiny_of("llama").load(), ["refactor_factored_attn_matrices"])


def test_an_incomplete_folder_is_refused_before_loading(tmp_path):
    with pytest.raises(UserError, match=r"no config\.json.*no tokenizer\.json.*no \*\.safetensors"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no weights", slice(None, -100)])
def test_damaged_weights_are_refused_with_the_folder(folder, content):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[content] if isinstance(content, slice) else content)
    with pytest.raises(UserError, match=f"{folder} cannot be loaded"):
        load_model(folder)


def test_missing_weights_are_named_not_left_random(folder):
    save_without(folder, "h.1.mlp.c_proj.weight")
    with pytest.raises(UserError, match=r"weights lack transformer\.h\.1\.mlp\.c_proj\.weight"):
        load_model(folder)


def test_weights_that_do_not_fit_the_configuration_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "n_inner": 20}))
    said = r"its weight transformer\.h\.0\.mlp\.c_fc\.bias is 24, but config\.json asks for 20; give the config\.json"
    with pytest.raises(UserError, match=said):
        load_model(folder)


@pytest.mark.parametrize(("architecture", "n_layers"), [("gpt2", "n_layer"), ("llama", "num_hidden_layers")])
def test_a_config_with_fewer_layers_than_the_weights_is_refused(tiny_of, tmp_path, architecture, n_layers):
    folder = shutil.copytree(tiny_of(architecture).folder, tmp_path / architecture)
    changed_config(folder, **{n_layers: 1})
    with pytest.raises(UserError, match=r"its weights have \S*\.1\.\S+, .* and \d+ more, for which there is no place"):
        load_model(folder)


def test_a_config_with_more_layers_than_the_weights_is_refused(folder):
    changed_config(folder, n_layer=3)
    with pytest.raises(UserError, match=r"its weights lack transformer\.h\.2\.attn\.c_attn\.bias"):
        load_model(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["h.1.mlp.c_proj.weight", "ln_f.bias"])
def test_weights_that_are_not_finite_are_refused_by_name(folder, name, value):
    path = folder / "model.safetensors"
    weights = load_file(path)
    (key,) = [key for key in weights if key.endswith(name)]
    weights[key].view(-1)[-1] = value
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(
        UserError, match=rf"its weights are damaged: transformer\.{name} holds values that are no finite"
    ):
        load_model(folder)


def test_old_buffers_among_the_weights_are_no_mistake(folder):
    path = folder / "model.safetensors"
    mask = {"h.0.attn.bias": torch.ones(1, 1, 32, 32), "h.1.attn.masked_bias": torch.tensor(-1e4)}
    save_file({**load_file(path), **mask}, path, metadata={"format": "pt"})
    load_model(folder)


def test_an_unknown_architecture_is_refused(folder):
    (folder / "config.json").write_text('{"model_type": "nonsense"}')
    with pytest.raises(UserError, match="nonsense"):
        load_model(folder)


def test_the_best_device_that_is_there_is_picked(monkeypatch):
    there = {"cuda": False, "mps": False}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there["cuda"])
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there["mps"])
    assert devices.kind() == "cpu"
    there["mps"] = True
    assert devices.kind("auto") == "mps"
    there["cuda"] = True
    assert devices.kind("auto") == "cuda"
    assert devices.kind("cpu") == "cpu"


def test_a_device_that_is_not_there_is_refused_with_the_remedy():
    with pytest.raises(UserError, match="'nonsense' cannot be used"):
        devices.kind("nonsense")


def changed_config(folder, **changed):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_an_architecture_that_transformer_lens_does_not_know_is_named(folder):
    changed_config(folder, architectures=["MegaForCausalLM"])
    with pytest.raises(UserError, match="TransformerLens does not know the architecture MegaForCausalLM"):
        load_model(folder)


def test_a_folders_code_is_never_run_whatever_is_answered(folder, monkeypatch, tmp_path):
    """The answer yes lies ready, should anybody ask."""
    ran = tmp_path / "ran"
    (folder / "configuration_own.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    names = {"AutoConfig": "configuration_own.Own", "AutoModelForCausalLM": "configuration_own.Model"}
    changed_config(folder, model_type="own", auto_map=names)
    monkeypatch.setattr("builtins.input", lambda *_: "yes")
    with pytest.raises(UserError, match="cannot be loaded"):
        load_model(folder)
    assert not ran.exists()


def test_a_multimodal_folder_installs_nothing(folder, monkeypatch):
    """TransformerLens' loader calls pip for what such a folder wants; it must not get that far."""
    monkeypatch.setattr("subprocess.check_call", lambda *_, **__: pytest.fail("a process was started"))
    changed_config(folder, vision_config={"hidden_size": 8})
    with pytest.raises(UserError, match="multimodal"):
        load_model(folder)
