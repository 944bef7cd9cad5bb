"""A neuron as Neuronpedia shows a feature: the JSON that its API hands out and its exports hold, as far as it is known.

Written are the keys that both have in common: what the feature is, the tokens that its output weights raise and lower
most, and its activation at each token of some texts. Explanations, histograms and similar features are left out.
"""

from typing import Any

from an_neuron.notebook.found import FoundNeuron

N_TOKENS = 10


def neuronpedia_feature(
    found: FoundNeuron, model_id: str, neuron: str | tuple[int, int] | None = None
) -> dict[str, Any]:
    """Return a neuron as one of Neuronpedia's features, of dictionaries, lists, texts and numbers alone.

    Parameters
    ----------
    found
        What `find_neuron` returned; the activations are those in its two prompts.
    model_id
        Neuronpedia's name of the model: "gpt2-large".
    neuron
        "31.892" or (31, 892); by default the found one.

    Returns
    -------
    dict
        `json.dumps` of it is a line of an export's features.

    Raises
    ------
    UserError
        If the neuron was not patched.
    """
    card = found.card(neuron)
    layer, index = card.neuron.split(".")
    raised, lowered = (found.written(card.neuron, N_TOKENS, largest) for largest in (True, False))
    return {
        "modelId": model_id,
        "layer": f"{layer}-mlp",
        "index": index,
        "hookName": f"blocks.{layer}.mlp.hook_post",
        "pos_str": [token for token, _ in raised],
        "pos_values": [value for _, value in raised],
        "neg_str": [token for token, _ in lowered],
        "neg_values": [value for _, value in lowered],
        "maxActApprox": max(map(max, card.activations)),
        "activations": [_activations(*prompt) for prompt in zip(card.tokens, card.activations, strict=True)],
    }


def _activations(tokens: tuple[str, ...], values: tuple[float, ...]) -> dict[str, Any]:
    """Return the activations at the tokens of one text."""
    extremes = {"maxValue": max(values), "maxValueTokenIndex": values.index(max(values)), "minValue": min(values)}
    return {"tokens": [*tokens], "values": [*values], **extremes}
