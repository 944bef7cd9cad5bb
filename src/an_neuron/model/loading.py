"""Loading a model as a TransformerLens bridge, and TransformerLens' processing of its weights."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from an_neuron.errors import UserError
from an_neuron.model.folder import architectures, folder_mistakes, read_json
from an_neuron.model.memory import check_memory, keep_freed_memory
from an_neuron.model.products import lay_out_for_products

MASK = re.compile(r"\.(attn|attention)\.(masked_)?bias$")
"""Causal masks, which old files of weights hold and which are no weights."""
MANY = 3
"""Tensors up to which all are named in a sentence."""
PROCESSING = ("fold_ln", "center_writing_weights", "center_unembed", "refactor_factored_attn_matrices")


def load_model(folder: Path, device: str = "cpu") -> TransformerBridge:
    """Load a folder's safetensors in float32, raw: logits and activations are Hugging Face's own.

    Parameters
    ----------
    folder
        A local model folder; nothing is fetched and no code of the folder is run.
    device
        Name of a torch device.

    Raises
    ------
    UserError
        If the folder is not complete, its weights are damaged, not all finite or not those that its config.json asks
        for, or TransformerLens does not know the architecture; or if they do not fit the memory.
    """
    if mistakes := folder_mistakes(folder):
        raise UserError(" ".join(mistakes))
    _check_architecture(folder)
    check_memory(folder, device)
    keep_freed_memory()
    disable_progress_bar()
    try:
        inner, loading = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,  # else transformers asks on the terminal whether to run a folder's code
            attn_implementation="eager",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
        )
        _check_weights(inner.to(device), loading)
        lay_out_for_products(inner)
        return TransformerBridge.boot_transformers(str(folder), hf_model=inner.eval(), device=device)
    except Exception as error:  # a wrong config.json makes transformers and TransformerLens raise whatever comes
        raise UserError(f"The model in {folder} cannot be loaded: {_said(error)}") from error


def _said(error: Exception) -> str:
    """Return what another library complains of: its first line, and the next where that ends with a colon."""
    first, *others = [*filter(None, map(str.strip, str(error).splitlines())), ""][:2]
    said = " ".join([first, *others]) if first.endswith(":") else first
    return said if isinstance(error, ValueError) and said else f"{type(error).__name__} {said}".strip()


def _check_weights(model: torch.nn.Module, loading: Mapping[str, Collection[Any]]) -> None:
    """Refuse weights that are not those of the configuration, or not all finite."""
    if mismatched := sorted(loading["mismatched_keys"]):  # transformers would leave these and the missing ones random
        name, written, wanted = mismatched[0]
        raise ValueError(
            f"its weight {name} is {_sizes(written)}, but config.json asks for {_sizes(wanted)}; give the config.json "
            "that was saved with the weights."
        )
    if missing := sorted(loading["missing_keys"]):
        raise ValueError(f"its weights lack {_some(missing)}; give all files of weights, with their own config.json.")
    unexpected = sorted(key for key in loading["unexpected_keys"] if not MASK.search(key))
    if unexpected:  # transformers would leave them out
        raise ValueError(
            f"its weights have {_some(unexpected)}, for which there is no place in the model that config.json "
            "describes; give the config.json that was saved with the weights."
        )
    wrong = [name for name, weight in model.named_parameters() if not _is_finite(weight.detach())]
    if wrong:
        raise ValueError(f"its weights are damaged: {_some(wrong)} holds values that are no finite numbers.")


def _is_finite(weight: torch.Tensor) -> bool:
    """Return whether all of a tensor is finite, by its smallest and largest value; one NaN makes both NaN."""
    return not weight.numel() or bool(torch.stack(torch.aminmax(weight)).isfinite().all())


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _some(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - MANY} more" if len(names) > MANY else ""
    return f"{', '.join(names[:MANY])}{more}"


def _check_architecture(folder: Path) -> None:
    """Stop where TransformerLens does not know the architecture, before anything is loaded."""
    for name in architectures(read_json(folder / "config.json")):
        if name not in SUPPORTED_ARCHITECTURES:
            raise UserError(
                f"The model in {folder} cannot be loaded: TransformerLens does not know the architecture {name}."
            )


def process_weights(model: TransformerBridge, processing: Sequence[str] = PROCESSING) -> None:
    """Fold and centre a model's weights in place, as the notebook's HookedTransformer did.

    Logit differences, probabilities and patching results stay the same; the residual stream, W_E, W_U and W_out get
    the coordinates in which the lens and congruence are defined.

    Parameters
    ----------
    model
        A raw bridge.
    processing
        Which of TransformerLens' flags to set, out of `PROCESSING`.

    Raises
    ------
    UserError
        If TransformerLens refuses a flag for this architecture (refactoring with rotary embeddings, for one).
    """
    flags = {flag: flag in processing for flag in PROCESSING}
    try:
        model.enable_compatibility_mode(disable_warnings=True, **flags)
    except (AssertionError, RuntimeError) as error:
        raise UserError(f"TransformerLens refuses processing {list(processing)} for this model: {error}") from error
