"""Find the MLP neuron behind a token, in any decoder language model.

    from an_neuron import find_neuron

    found = find_neuron("HuggingFaceTB/SmolLM2-135M", clean, corrupted, " an", " a")

The public names are loaded when they are asked for. Neither the library's modules nor the workflow's scripts import
through this page: what a result depends on is told by imports of modules.
"""

from importlib import import_module
from typing import Any

PUBLIC = {
    "AllBut": "patching.sets",
    "Engine": "patching.engine",
    "FoundNeuron": "notebook.found",
    "HeadOutput": "patching.metric",
    "LogitDifference": "patching.metric",
    "Mean": "patching.interventions",
    "Negative": "patching.interventions",
    "NeuronActivation": "patching.metric",
    "Node": "patching.rows",
    "PromptPair": "prompts.pairs",
    "Scaled": "patching.interventions",
    "Stream": "patching.metric",
    "Sweep": "patching.sweep",
    "Tokenizer": "model.tokenizer",
    "UserError": "errors",
    "Value": "patching.interventions",
    "Zero": "patching.interventions",
    "__version__": "files.version",
    "attribute": "patching.attribution",
    "attribute_neurons": "patching.attribution",
    "drive_by_neurons": "patching.drivers",
    "find_neuron": "notebook.find",
    "load_model": "model.loading",
    "logit_lens": "prompts.lens",
    "mean_over": "patching.means",
    "neuron_means": "corpus.neuron_means",
    "neuronpedia_feature": "notebook.neuronpedia",
    "open_model": "notebook.opening",
    "patch_heads": "patching.sweeps",
    "patch_listed_neurons": "patching.sweeps",
    "patch_neurons": "patching.sweeps",
    "patch_sites": "patching.sweeps",
    "patch_sites_and_heads": "patching.sweeps",
    "patch_together": "patching.together",
    "predict": "prompts.predictions",
    "process_weights": "model.loading",
    "read": "files.hdf5",
    "respond": "patching.dose_response",
    "screen_neurons": "patching.screening",
    "tokenizer_of": "notebook.opening",
    "trace": "patching.circuit",
}
"""Where each public name is defined."""

__all__ = sorted(PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in PUBLIC:
        raise AttributeError(f"module 'an_neuron' has no attribute {name!r}; its public names are {', '.join(__all__)}")
    with import_module("an_neuron.files.extras").extras():
        return getattr(import_module(f"an_neuron.{PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return __all__
