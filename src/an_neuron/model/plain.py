"""The plain Hugging Face model behind a TransformerLens bridge: same weights, no hooks, its own attention function.

A bridge puts a component of its own in the place of every module, which costs more than the arithmetic of a short
batch. Here the original architecture is built again around the same parameters (nothing is copied), and its attention
goes through a function that the caller names.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers.activations import ACT2FN

from an_neuron.errors import UserError

TANH_GELUS = tuple(type(ACT2FN[name]) for name in ("gelu_new", "gelu_fast", "gelu_pytorch_tanh"))
TOLERANCE = 1e-4
HALF_ROUNDINGS = 16


def plain_model(bridge: TransformerBridge, implementation: str) -> Any:
    """Return the Hugging Face model of a bridge, around the bridge's own parameters.

    Parameters
    ----------
    bridge
        A TransformerLens bridge.
    implementation
        transformers' name of the attention function; "sdpa" becomes "eager" where the architecture has none, or the
        scores are soft-capped, which SDPA cannot do.

    Raises
    ------
    UserError
        If the architecture does not take the attention function, or the plain model's logits are not the bridge's: the
        bridge has been changed by more than its weights.
    """
    original = bridge.original_model
    config = type(original.config).from_dict(original.config.to_dict())
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    try:
        plain = _unweighted(original, config, "eager" if capped and implementation == "sdpa" else implementation)
    except (KeyError, ValueError) as error:
        if implementation != "sdpa":
            raise UserError(f"{type(original).__name__} does not take the attention {implementation!r}.") from error
        plain = _unweighted(original, config, "eager")
    for path, module in plain.named_modules():
        if module._parameters or module._buffers:
            _share(_unwrapped(_find(original, path)), module)
    plain.eval().requires_grad_(False)
    _forget_lengths(plain)
    _check_same(bridge, plain)
    return plain


def with_fast_gelus(model: nn.Module) -> None:
    """Replace a model's slow spellings of the tanh approximation of GELU by torch's one-pass one, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, TANH_GELUS):
                setattr(module, name, nn.GELU(approximate="tanh"))


def _unweighted(original: nn.Module, config: Any, implementation: str) -> nn.Module:
    config._attn_implementation = implementation
    with torch.device("meta"):
        return type(original)(config)


def _unwrapped(module: Any) -> Any:
    while getattr(module, "original_component", None) is not None:
        module = module.original_component
    return module


def _find(original: nn.Module, path: str) -> Any:
    """Return a module of a bridged model by the path that it has in the plain one."""
    module: Any = original
    for part in filter(None, path.split(".")):
        module = getattr(_unwrapped(module), part)
    return module


def _share(original: Any, plain: nn.Module) -> None:
    """Let a module have the parameters and buffers of another; processing may have given that one a bias."""
    for name, parameter in original._parameters.items():
        if parameter is not None:
            plain._parameters[name] = nn.Parameter(parameter.detach(), requires_grad=False)
    for name in plain._buffers:
        plain._buffers[name] = getattr(original, name).clone()  # some change as the model runs


def _forget_lengths(model: nn.Module) -> None:
    """Let rotary embeddings start anew for each prompt: a dynamic one keeps the frequencies of the longest so far."""
    for module in model.modules():
        state = {name: value for name, value in vars(module).items() if name.endswith("max_seq_len_cached")}
        if not state:
            continue
        original = {name: buffer.clone() for name, buffer in module.named_buffers(recurse=False) if "original" in name}

        def forget(
            module: nn.Module, _inputs: Any, state: dict[str, Any] = state, original: dict[str, Tensor] = original
        ) -> None:
            vars(module).update(state)
            for name, buffer in original.items():
                module._buffers[name.replace("original_", "")] = buffer.clone()

        module.register_forward_pre_hook(forget)


def tolerance(dtype: torch.dtype) -> float:
    """Return how far logits that two ways of computing in a precision give may differ, as a share of their size.

    In float32 (and float64, whose results are given in float32) 1e-4, some ten times what rounding does; in bfloat16
    and float16 sixteen roundings, 0.125 and 0.016.
    """
    return TOLERANCE if dtype.itemsize >= 4 else HALF_ROUNDINGS * torch.finfo(dtype).eps


@torch.inference_mode()
def _check_same(bridge: TransformerBridge, plain: nn.Module) -> None:
    """Hold a few tokens' log-probabilities of the plain model against the bridge's."""
    ids = torch.arange(3, device=bridge.cfg.device)[None] % bridge.cfg.d_vocab
    of_plain = plain(ids, use_cache=False).logits.float().log_softmax(-1)
    try:
        of_bridge = bridge(ids).float().log_softmax(-1)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(
            f"TransformerLens' bridge of this model ({type(plain).__name__}) cannot run: {str(error).splitlines()[0]}"
        ) from error
    if not of_bridge.isfinite().all():
        raise UserError("The model's logits are not finite numbers; its weights may be damaged.")
    worst = float((of_plain - of_bridge).abs().max())
    if not worst <= tolerance(next(plain.parameters()).dtype) * max(1.0, float(of_bridge.abs().max())):
        raise UserError(
            f"This model ({type(plain).__name__}) cannot be patched exactly: as transformers runs it, its "
            f"log-probabilities differ by {worst:.1e} from those of its TransformerLens bridge. Give a freshly loaded "
            "bridge, before its weights are processed (recovery is the same) and without hooks that change "
            "activations; if it is one, TransformerLens does not treat this configuration rightly."
        )
