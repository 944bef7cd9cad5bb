"""Products by oneDNN: the same numbers, where the machine multiplies faster that way."""

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from an_neuron.model import products


@pytest.fixture
def by_one_dnn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let products go through oneDNN whatever is faster here."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(products, "one_dnn_is_faster", lambda: True)


@pytest.mark.usefixtures("by_one_dnn")
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 4, 3), (0, 3)])
def test_a_product_is_what_torch_makes_of_it(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "NARROWEST", 1)
    entering, weight, bias = torch.randn(*shape), torch.randn(5, 3), torch.randn(5)
    for given in (bias, None):
        expected = nn.functional.linear(entering, weight, given)
        torch.testing.assert_close(products.linear(entering, weight, given), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.usefixtures("by_one_dnn")
def test_linear_modules_of_both_kinds_keep_what_they_compute() -> None:
    model = nn.Sequential(nn.Linear(256, 8), Conv1D(4, 8), nn.Linear(4, 300, bias=False), nn.Tanh(), Conv1D(7, 300))
    entering = torch.randn(2, 3, 256)
    with torch.inference_mode():
        expected = model(entering)
        products.with_fast_products(model)
        assert ["forward" in vars(module) for module in model] == [True, False, False, False, True]  # wide inputs only
        torch.testing.assert_close(model(entering), expected, atol=1e-5, rtol=1e-5)
        half = model.bfloat16()(entering.bfloat16())  # as the corpus pass does it: weights change under the modules
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, atol=0.1, rtol=0.1)


@pytest.mark.usefixtures("by_one_dnn")
def test_a_weight_that_was_laid_out_is_not_copied() -> None:
    model = nn.Sequential(Conv1D(7, 256))
    before = model[0].weight.clone()
    products.lay_out_for_products(model)
    assert torch.equal(model[0].weight, before)
    with torch.no_grad():
        products.with_fast_products(model)
    transposed = model[0].forward.args[1]
    assert transposed.data_ptr() == model[0].weight.data_ptr()


@pytest.mark.usefixtures("by_one_dnn")
def test_gradients_go_the_ordinary_way() -> None:
    weight = torch.randn(2, 256, requires_grad=True)
    products.linear(torch.ones(1, 256), weight).sum().backward()
    assert torch.equal(weight.grad, torch.ones(2, 256))


def test_the_measurement_compares_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    for times, faster in (([1.0, 1.0], False), ([0.5, 1.0], True), ([1.0, 0.5], False)):
        spent = iter(times)  # of oneDNN, and of the default
        monkeypatch.setattr(products, "seconds", lambda _run, spent=spent: next(spent))
        products.one_dnn_is_faster.cache_clear()
        assert products.one_dnn_is_faster() is faster
    products.one_dnn_is_faster.cache_clear()


def test_a_way_that_is_less_exact_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    spent = iter([0.1, 1.0])
    monkeypatch.setattr(products, "seconds", lambda _run: next(spent))
    rough = lambda entering, weight, _bias: (entering.bfloat16() @ weight.T.bfloat16()).float()  # noqa: E731
    monkeypatch.setattr(products, "_by_one_dnn", rough)
    products.one_dnn_is_faster.cache_clear()
    assert not products.one_dnn_is_faster()
    products.one_dnn_is_faster.cache_clear()
