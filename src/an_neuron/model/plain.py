"""The plain Hugging Face model behind a TransformerLens bridge: same weights, no hooks, its own attention function.

A bridge puts a component of its own in the place of every module, which costs more than the arithmetic of a short
batch. Here the original architecture is built again around the same parameters (nothing is copied), its attention goes
through a function that the caller names, and slow spellings of an activation function are replaced by torch's one-pass
ones.
"""

from typing import Any

import torch
from torch import nn
from transformer_lens.model_bridge import TransformerBridge
from transformers.activations import ACT2FN

from an_neuron.errors import UserError

TANH_GELUS = tuple(type(ACT2FN[name]) for name in ("gelu_new", "gelu_fast", "gelu_pytorch_tanh"))
TOLERANCE = 1e-4


def plain_model(bridge: TransformerBridge, implementation: str) -> Any:
    """Return the Hugging Face model of a bridge, around the bridge's own parameters.

    Parameters
    ----------
    bridge
        A TransformerLens bridge.
    implementation
        transformers' name of the attention function; "sdpa" becomes "eager" where the scores are soft-capped, which
        SDPA cannot do.

    Raises
    ------
    UserError
        If the plain model's logits are not the bridge's: the bridge has been changed by more than its weights.
    """
    original = bridge.original_model
    config = type(original.config).from_dict(original.config.to_dict())
    capped = getattr(config, "attn_logit_softcapping", None) is not None
    config._attn_implementation = "eager" if capped and implementation == "sdpa" else implementation
    with torch.device("meta"):
        plain = type(original)(config)
    for path, module in plain.named_modules():
        if module._parameters or module._buffers:
            _share(_unwrapped(_find(original, path)), module)
    for module in list(plain.modules()):
        for name, child in module.named_children():
            if isinstance(child, TANH_GELUS):
                setattr(module, name, nn.GELU(approximate="tanh"))
    plain.eval().requires_grad_(False)
    _check_same(bridge, plain)
    return plain


def module_behind(bridge: TransformerBridge, layer: int, hook: str) -> tuple[str, str]:
    """Return where a hook point of a block is in the plain block.

    Returns
    -------
    tuple of str
        The path of the module inside the plain block, "mlp.c_proj", and whether the hook is at its "in" or "out".

    Raises
    ------
    UserError
        If the bridge has no such hook point, or it stands for no module of the plain block.
    """
    block = bridge.blocks[layer]
    point = _attribute(block, hook)
    for path, module in block.named_modules(remove_duplicate=False):
        *parts, end = path.split(".")
        if module is point and end in ("hook_in", "hook_out") and "_original_component" not in parts:
            component, names = block, []
            for part in parts:
                component = getattr(component, part)
                names.append(str(component.name))
            return ".".join(names), end.removeprefix("hook_")
    raise UserError(
        f"This architecture ({type(block).__name__}) has no hook point {hook}, so it cannot be patched there."
    )


def _attribute(block: nn.Module, path: str) -> Any:
    value: Any = block
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


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
        plain._buffers[name] = getattr(original, name)


@torch.inference_mode()
def _check_same(bridge: TransformerBridge, plain: nn.Module) -> None:
    """Hold a few tokens' log-probabilities of the plain model against the bridge's."""
    ids = torch.arange(3, device=bridge.cfg.device)[None] % bridge.cfg.d_vocab
    of_plain = plain(ids, use_cache=False).logits.float().log_softmax(-1)
    of_bridge = bridge(ids).float().log_softmax(-1)
    if not of_bridge.isfinite().all():
        raise UserError("The model's logits are not finite numbers; its weights may be damaged.")
    worst = float((of_plain - of_bridge).abs().max())
    if not worst <= TOLERANCE * max(1.0, float(of_bridge.abs().max())):
        raise UserError(
            f"This model cannot be patched exactly: without the bridge's hooks its log-probabilities differ by "
            f"{worst:.1e}. Use a freshly loaded bridge, before its weights are processed (recovery is the same) and "
            "without hooks that change activations."
        )
