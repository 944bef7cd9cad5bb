"""The kernels for GPUs: on one, or by Triton's interpreter, where Triton is installed and TRITON_INTERPRET=1."""

import os

import pytest
import torch

from an_neuron.patching import attention


def test_without_a_gpu_waves_run_in_torchs_operations(monkeypatch):
    assert attention.fused_on(torch.device("cpu")) is None
    monkeypatch.setattr(torch, "randn", _raising)
    assert attention.fused_on(torch.device("cuda", 7)) is None  # nothing that goes wrong there stops a sweep


def _raising(*_args, **_named):
    raise RuntimeError("no such GPU")


DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module")
def fused():
    pytest.importorskip("triton")
    if not (torch.cuda.is_available() or os.environ.get("TRITON_INTERPRET")):
        pytest.skip("there is no GPU, and TRITON_INTERPRET is not set")
    from an_neuron.patching import fused

    return fused


@pytest.mark.parametrize(
    ("rows", "kv_heads", "group", "pos", "prefix", "d_head"),
    [(5, 2, 1, 4, 16, 64), (7, 1, 3, 2, 3, 16), (2, 3, 3, 5, 0, 64), (2, 1, 9, 20, 37, 24), (9, 2, 1, 1, 5, 80)],
)
def test_attention_in_one_kernel(fused, rows, kv_heads, group, pos, prefix, d_head):
    chance = torch.Generator(DEVICE).manual_seed(0)
    query = torch.randn(rows, kv_heads * group, pos, d_head, generator=chance, device=DEVICE)
    own = torch.randn(rows, pos, 2, kv_heads, d_head, generator=chance, device=DEVICE)
    key, value = own[:, :, 0].transpose(1, 2), own[:, :, 1].transpose(1, 2)
    shared = torch.randn(2, kv_heads, prefix, d_head, generator=chance, device=DEVICE).unbind() if prefix else None
    mask = torch.full((pos, prefix + pos), torch.finfo(torch.float32).min, device=DEVICE).triu(prefix + 1)[None, None]
    found = fused.attention(query, key, value, shared, mask, 0.2)
    keys, values = key, value
    if shared:
        keys, values = (
            torch.cat([one.expand(rows, -1, -1, -1), each], 2) for one, each in zip(shared, (key, value), strict=True)
        )
    expected = torch.nn.functional.scaled_dot_product_attention(
        query, keys, values, attn_mask=mask, scale=0.2, enable_gqa=True
    )
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-5)


def test_changes_are_rounded_as_they_are_written(fused):
    chance = torch.Generator(DEVICE).manual_seed(0)
    entering, base = (
        torch.randn(5, 4, 1300, generator=chance, device=DEVICE),
        torch.randn(4, 1300, generator=chance, device=DEVICE),
    )
    found = fused.change_in_bfloat16(entering, base)
    assert found.dtype == torch.bfloat16
    assert torch.allclose(found.float(), entering - base, rtol=2**-7, atol=0)
