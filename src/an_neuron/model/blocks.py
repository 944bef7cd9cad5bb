"""The plain blocks of a model, and where their sites are."""

from typing import Any

from torch import nn
from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.model.places import Place, d_mlp, find_places
from an_neuron.model.plain import plain_model


class Blocks:
    """The plain model behind a bridge, and its blocks.

    Parameters
    ----------
    bridge
        A TransformerLens bridge, with raw or processed weights.
    implementation
        transformers' name of the attention function.

    Attributes
    ----------
    model
        The Hugging Face model.
    places
        Where the sites of each layer are.
    gated
        Whether a neuron is act(gate) * up (SwiGLU, GEGLU), of either sign, and not an activation function alone.

    Raises
    ------
    UserError
        If the architecture has no blocks, or computes something else than the bridge.
    """

    def __init__(self, bridge: TransformerBridge, implementation: str) -> None:
        self.model: Any = plain_model(bridge, implementation)
        self.dtype, self.device = (getattr(next(self.model.parameters()), what) for what in ("dtype", "device"))
        self.blocks: list[nn.Module] = [*self.model.get_submodule(component_name(bridge, "blocks"))]
        self.places = [find_places(bridge, layer, block) for layer, block in enumerate(self.blocks)]
        self.gated = bool(bridge.cfg.gated_mlp)
        self.d_vocab = int(self.model.config.vocab_size)
        self.n_ctx = longest_prompt(self.model.config)

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    def place(self, layer: int, site: str) -> Place:
        """Return where a site of a layer is.

        Raises
        ------
        UserError
            If the layer has no such site.
        """
        if site in self.places[layer]:
            return self.places[layer][site]
        if site == "post":
            raise UserError(
                f"Layer {layer} of this model ({type(self.model).__name__}) has no neurons of one MLP (a mixture of "
                "experts, or no MLP at all); sites and heads can be patched."
            )
        raise UserError(f"Layer {layer} of this model ({type(self.model).__name__}) has no site {site!r}.")

    def has_everywhere(self, site: str) -> bool:
        """Return whether every layer has a site."""
        return all(site in places for places in self.places)

    def module(self, layer: int, site: str) -> nn.Module:
        """Return the module whose input or output a site is."""
        return self.place(layer, site).module(self.blocks[layer])

    def n_items(self, layer: int, site: str) -> int | None:
        """Return how many heads or neurons a site has; None for a site that is patched as a whole."""
        if site == "resid_pre":
            return None
        place = self.place(layer, site)
        if site == "post":
            return d_mlp(place, self.blocks[layer])
        return None if place.columns is None else len(place.columns)


def longest_prompt(config: Any) -> int | None:
    """Return how many tokens a context holds, if that is known; a dynamic rope stretches beyond its original length."""
    original: int | None = getattr(config, "max_position_embeddings", None)
    rope = getattr(config, "rope_parameters", None) or {}
    if original is None or rope.get("rope_type") != "dynamic":
        return original
    return int(original * rope["factor"])


def component_name(bridge: TransformerBridge, component: str) -> str:
    """Return the path of one of a bridge's components in the Hugging Face model.

    Raises
    ------
    UserError
        If the architecture has none.
    """
    mapping = bridge.adapter.component_mapping or {}
    if component not in mapping:
        raise UserError(f"This architecture ({type(bridge.original_model).__name__}) has no {component}.")
    return str(mapping[component].name)
