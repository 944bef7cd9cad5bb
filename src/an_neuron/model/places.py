"""Where TransformerLens' hook points stand in the plain blocks: a module, its input or output, and a head's columns.

A site's name means TransformerLens' hook: q, k and v are what leaves their projections, before any norm or rotation; z
is what enters the output projection, behind any gate or norm that stands there; mlp_out and attn_out are what their
hooks see, behind a norm where one follows (Gemma 2, OLMo 2).
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge
from transformers.pytorch_utils import Conv1D

HEAD_SITES = ("q", "k", "v", "pattern", "z")
HOOKS = {
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "resid_mid": "hook_resid_mid",
    "post": "mlp.hook_post",
    "mlp_in": "mlp.hook_in",
    **{site: f"attn.hook_{site}" for site in HEAD_SITES if site != "pattern"},
}
"""TransformerLens' name of the hook at each place. The pattern is no module's output; it has the attention's place."""
SCALED = ("attn_out", "mlp_out")


@dataclass(frozen=True)
class Place:
    """Where a site is in a plain block.

    Attributes
    ----------
    path
        Of the module inside the block, "mlp.c_proj".
    end
        Whether the site is the module's "in" or "out".
    columns
        For heads: which columns of the activation are each head's, [head, d_head].
    """

    path: str
    end: str
    columns: Tensor | None = None

    def module(self, block: nn.Module) -> nn.Module:
        """Return the module in a block."""
        return block.get_submodule(self.path)


def find_places(bridge: TransformerBridge, layer: int, block: nn.Module) -> dict[str, Place]:
    """Return the places of a layer's sites; a site that the layer lacks is left out.

    Parameters
    ----------
    bridge
        A TransformerLens bridge.
    layer
        Which of its blocks.
    block
        The plain block of that layer.
    """
    bridged = bridge.blocks[layer]
    hooks, points, paths = {**HOOKS, **_scaled_hooks(bridged)}, _points(bridged), _paths(block)
    behind = {site: _behind(bridged, hook, points) for site, hook in hooks.items()}
    places = {site: place for site, place in behind.items() if place is not None and place.path in paths}
    if "post" in places and not _is_output_projection(places["post"], block, bridge.cfg.d_model):
        del places["post"]  # a mixture of experts, whose hook_post is not its neurons'
    attention = getattr(bridged, "attn", None)
    if attention is None or "z" not in places:
        return {site: place for site, place in places.items() if site not in HEAD_SITES}
    kv_heads = bridge.cfg.n_key_value_heads or bridge.cfg.n_heads
    n_heads = {"q": bridge.cfg.n_heads, "k": kv_heads, "v": kv_heads, "z": bridge.cfg.n_heads}
    places |= _joint_places(attention, block)
    for site in n_heads.keys() & places.keys():
        places[site] = _with_heads(places[site], block, n_heads[site])
    places["pattern"] = Place(str(attention.name), "in", torch.zeros(bridge.cfg.n_heads, 0))
    return places


def _scaled_hooks(bridged: nn.Module) -> dict[str, str]:
    """Return the hooks of attn_out and mlp_out in blocks that multiply what they add to the stream (Granite).

    TransformerLens shows it multiplied there, behind no module; patching it before comes to the same.
    """
    parts = {site: getattr(bridged, f"scaled_{site.removesuffix('_out')}_submodule", None) for site in SCALED}
    return {site: f"{part}.hook_out" for site, part in parts.items() if part is not None}


def _points(bridged: nn.Module) -> dict[int, str]:
    """Return the path of each hook point at an end of a module, by the point's id; the first path if it has more."""
    points: dict[int, str] = {}
    for path, module in bridged.named_modules(remove_duplicate=False):
        *parts, end = path.split(".")
        if end in ("hook_in", "hook_out") and "_original_component" not in parts:
            points.setdefault(id(module), path)
    return points


def _behind(bridged: nn.Module, hook: str, points: Mapping[int, str]) -> Place | None:
    """Return the place of a hook point in the plain block, or None if there is none or it stands at no module's end."""
    point: Any = bridged
    for part in hook.split("."):
        point = getattr(point, part, None)
    if id(point) not in points:
        return None
    *parts, end = points[id(point)].split(".")
    component, names = bridged, []
    for part in parts:
        component = getattr(component, part)
        names.append(component.name)
    return Place(".".join(name for name in names if name), end.removeprefix("hook_"))


def _paths(block: nn.Module) -> set[str]:
    return {path for path, _ in block.named_modules()}


def _joint_places(attention: Any, block: nn.Module) -> dict[str, Place]:
    """Return the places of q, k and v in one joint projection, where there is one.

    Which of its columns are whose is asked of TransformerLens: its own function divides a copy of the projection whose
    weights are the columns' numbers.
    """
    split, joint = getattr(attention, "split_qkv_matrix", None), getattr(attention, "qkv", None)
    if split is None or joint is None or (path := f"{attention.name}.{joint.name}") not in _paths(block):
        return {}
    numbered = deepcopy(block.get_submodule(str(attention.name)))
    projection: Any = numbered.get_submodule(str(joint.name))
    weight = projection.weight
    by_rows = not isinstance(projection, Conv1D)
    number = torch.arange(weight.shape[not by_rows], dtype=torch.float64)
    weights = (number[:, None] if by_rows else number[None]).expand(weight.shape).contiguous()
    projection.weight = nn.Parameter(weights, requires_grad=False)
    parts = zip(("q", "k", "v"), split(numbered), strict=True)
    return {site: Place(path, "out", part.weight[:, 0].round().long()) for site, part in parts}


def _with_heads(place: Place, block: nn.Module, n_heads: int) -> Place:
    """Divide a place's columns among the heads."""
    columns = place.columns
    if columns is None:
        columns = torch.arange(_width(place.module(block), place.end))
    return Place(place.path, place.end, rearrange(columns, "(head d_head) -> head d_head", head=n_heads))


def _width(module: Any, end: str) -> int:
    """Return how many columns go in or out of a projection."""
    return int(module.weight.shape[(end == "in") != isinstance(module, Conv1D)])


def _is_output_projection(place: Place, block: nn.Module, d_model: int) -> bool:
    module: Any = place.module(block)
    weight = getattr(module, "weight", None)
    return place.end == "in" and weight is not None and weight.ndim == 2 and _width(module, "out") == d_model


def d_mlp(place: Place, block: nn.Module) -> int:
    """Return how many neurons the MLP has whose output projection a place is."""
    return _width(place.module(block), place.end)
