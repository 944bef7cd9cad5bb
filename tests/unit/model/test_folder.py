import json
import shutil

import pytest
from conftest import BOS, D_VOCAB, MERGES
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import processors

from an_neuron.errors import UserError
from an_neuron.model.folder import Shape, folder_mistakes, read_shape, weight_files
from an_neuron.model.tokenizer import Tokenizer


@pytest.fixture
def folder(tiny_gpt2, tmp_path):
    """A copy of a model's folder to damage."""
    return shutil.copytree(tiny_gpt2.folder, tmp_path / "model")


def settings(folder, **changed):
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def shape_of(folder, **config):
    (folder / "config.json").write_text(json.dumps(config))
    return read_shape(folder)


def test_a_whole_folder_has_no_mistakes(tiny):
    assert folder_mistakes(tiny.folder) == []


def test_a_folder_that_is_not_there_is_named(tmp_path):
    (mistake,) = folder_mistakes(tmp_path / "gone")
    assert mistake == (
        f"there is no folder {tmp_path / 'gone'}; give one that holds config.json, tokenizer.json and *.safetensors."
    )


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_one_missing_file_is_one_mistake(folder, name):
    (folder / name).unlink()
    (mistake,) = folder_mistakes(folder)
    assert f"holds no {name.replace('model', '*')}" in mistake


def test_all_missing_files_are_told_with_their_remedies(tmp_path):
    config, tokenizer, weights = folder_mistakes(tmp_path)
    assert "no config.json" in config
    assert "save_pretrained" in config
    assert f"save_pretrained({str(tmp_path)!r})" in tokenizer
    assert "no *.safetensors" in weights


def test_pickled_weights_alone_are_refused(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (mistake,) = folder_mistakes(folder)
    assert "pickled weights are refused" in mistake


def test_shards_of_weights_are_sorted(tmp_path):
    for name in ("model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors", "notes.txt"):
        (tmp_path / name).touch()
    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert [path.name for path in weight_files(tmp_path)] == names


def test_the_shape_of_each_architecture_is_read(tiny):
    gated = tiny.name not in ("gpt2", "gpt_neox")
    assert read_shape(tiny.folder) == Shape(n_layers=2, d_model=16, d_mlp=24, n_ctx=32, d_vocab=50, gated=gated)
    assert tiny.w_out(0).shape == (24, 16)


def test_neurons_are_four_times_the_width_where_none_are_given(tmp_path):
    gpt2 = {"n_embd": 20, "n_layer": 3, "n_positions": 8, "vocab_size": 9, "n_inner": None}
    assert shape_of(tmp_path, **gpt2) == Shape(n_layers=3, d_model=20, d_mlp=80, n_ctx=8, d_vocab=9)
    assert shape_of(tmp_path, **{**gpt2, "n_inner": 7}).d_mlp == 7


def test_parameters_are_counted_by_hand():
    # 3 layers of 4·10² for attention and 2·10·30 for the MLP, and 10·7 for the unembedding.
    assert Shape(n_layers=3, d_model=10, d_mlp=30, n_ctx=8, d_vocab=7).n_parameters == 3 * (400 + 600) + 70


def test_a_configuration_of_something_else_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"config\.json has none of n_embd, hidden_size, d_model"):
        shape_of(tmp_path, image_size=224)
    (tmp_path / "config.json").write_text("{broken")
    with pytest.raises(UserError, match=r"config\.json cannot be read"):
        read_shape(tmp_path)


def test_text_is_encoded_without_special_tokens_and_prompts_with_bos(tiny_gpt2):
    tokenizer = tiny_gpt2.tokenizer
    assert tokenizer.encode("a the an.") == [1, 34, 31, 28]
    assert tokenizer.prompt("a the an.") == [0, 1, 34, 31, 28]
    assert tokenizer.texts([0, 1, 34, 31, 28]) == [BOS, "a", " the", " an", "."]


def test_the_vocabulary_has_a_text_for_each_row_of_the_embedding(tiny_gpt2):
    vocabulary = tiny_gpt2.tokenizer.vocabulary(D_VOCAB)
    known = 30 + len(MERGES)
    assert len(vocabulary) == D_VOCAB
    assert vocabulary[29:32] == ["\0", " a", " an"]
    assert set(vocabulary[known:]) == {""}


def test_a_tokenizers_own_bos_truncation_and_padding_are_left_out(folder):
    fast = FastTokenizer.from_file(str(folder / "tokenizer.json"))
    fast.post_processor = processors.TemplateProcessing(single=f"{BOS} $A", special_tokens=[(BOS, 0)])
    fast.enable_truncation(3)
    fast.enable_padding(length=9)
    fast.save(str(folder / "tokenizer.json"))
    assert Tokenizer(folder).prompt("abcdef") == [0, 1, 2, 3, 4, 5, 6]


def test_bos_is_what_the_settings_name(folder):
    settings(folder, bos_token="b", eos_token="c")
    assert Tokenizer(folder).bos == 2
    settings(folder, bos_token={"content": "d"})
    assert Tokenizer(folder).bos == 4


def test_the_end_of_text_stands_in_for_a_missing_bos(folder):
    settings(folder, bos_token=None, eos_token="c")
    assert Tokenizer(folder).bos == 3


def test_the_models_configuration_is_asked_where_the_tokenizers_says_nothing(folder):
    (folder / "tokenizer_config.json").unlink()
    (folder / "config.json").write_text('{"bos_token_id": null, "eos_token_id": 5}')
    assert Tokenizer(folder).bos == 5
    (folder / "config.json").write_text('{"bos_token_id": 0, "eos_token_id": 5}')
    assert Tokenizer(folder).bos == 0


def test_eos_is_what_the_settings_name_or_the_configuration_or_bos(folder):
    (folder / "config.json").write_text('{"bos_token_id": 7, "eos_token_id": [5, 6]}')
    settings(folder, bos_token="b", eos_token="c")
    assert (Tokenizer(folder).bos, Tokenizer(folder).eos) == (2, 3)
    settings(folder, bos_token="b", eos_token=None)
    assert (Tokenizer(folder).bos, Tokenizer(folder).eos) == (2, 5)
    (folder / "config.json").write_text("{}")
    assert (Tokenizer(folder).bos, Tokenizer(folder).eos) == (2, 2)


def test_texts_are_encoded_together_as_alone(tiny_gpt2):
    texts = ["an apple", "", f"then {BOS}", "the"]
    assert tiny_gpt2.tokenizer.encode_batch(texts) == [tiny_gpt2.tokenizer.encode(text) for text in texts]


def test_a_model_without_any_beginning_is_refused(folder):
    (folder / "tokenizer_config.json").unlink()
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match="neither bos_token nor eos_token"):
        Tokenizer(folder)


def test_a_broken_tokenizer_is_named(folder):
    (folder / "tokenizer.json").write_text("{broken")
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read"):
        Tokenizer(folder)


@pytest.mark.parametrize(
    "changed",
    [
        {"vision_config": {"hidden_size": 8}},
        {"audio_config": {"hidden_size": 8}},
        {"architectures": ["LlavaForConditionalGeneration"]},
        {"is_encoder_decoder": True},
    ],
)
def test_models_that_do_more_than_read_and_write_text_are_refused(folder, changed):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    (mistake,) = folder_mistakes(folder)
    assert "multimodal model or an encoder-decoder" in mistake


def test_a_broken_configuration_is_a_mistake(folder):
    (folder / "config.json").write_text("{")
    (mistake,) = folder_mistakes(folder)
    assert "config.json cannot be read" in mistake


@pytest.mark.parametrize("content", ["[1,2]", "3", "null", '"a"', "[" * 100_000])
def test_a_configuration_without_keys_is_a_mistake(folder, content):
    (folder / "config.json").write_text(content)
    (mistake,) = folder_mistakes(folder)
    assert mistake.startswith(f"{folder / 'config.json'} ")
    assert mistake.endswith("give the folder of a Hugging Face model.")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"n_layer": "2"}, "says n_layer: '2', which is no size of a model"),
        ({"n_layer": True}, "says n_layer: True, which is no size"),
        ({"n_embd": -16}, "says n_embd: -16, which is no size"),
        ({"vocab_size": 10**12}, "says vocab_size: 1000000000000, which is no size"),
        ({"n_inner": [24]}, r"says n_inner: \[24\], which is no size"),
        ({"n_positions": None}, "has none of n_positions, max_position_embeddings, n_ctx, seq_length"),
    ],
)
def test_sizes_that_are_none_are_named(folder, changed, said):
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changed}
    path.write_text(json.dumps({key: value for key, value in config.items() if key != "n_ctx"}))
    with pytest.raises(UserError, match=said):
        read_shape(folder)


def test_what_makes_the_tokenizers_library_panic_is_a_broken_tokenizer(folder, monkeypatch):
    """Its panics are no Exceptions, and end a process with a traceback."""

    class PanicError(BaseException):
        pass

    def panic(_):
        raise PanicError("range end index out of range")

    monkeypatch.setattr("tokenizers.Tokenizer.from_file", panic)
    with pytest.raises(UserError, match=r"tokenizer\.json cannot be read \(range end index out of range\); save the"):
        Tokenizer(folder)
