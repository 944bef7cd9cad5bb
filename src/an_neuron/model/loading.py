"""Loading a model as a TransformerLens bridge, and TransformerLens' processing of its weights."""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformer_lens.factories.architecture_adapter_factory import SUPPORTED_ARCHITECTURES
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from an_neuron.errors import UserError
from an_neuron.model.folder import folder_mistakes, read_json

LOADING_ERRORS = (
    *(AssertionError, AttributeError, LookupError, OSError),
    *(RuntimeError, SafetensorError, TypeError, ValueError),
)
"""What transformers and TransformerLens raise for a configuration or weights that they cannot make a model of."""
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
        If the folder is not complete, its weights are damaged or some are missing, or TransformerLens does not know
        the architecture.
    """
    if mistakes := folder_mistakes(folder):
        raise UserError(" ".join(mistakes))
    _check_architecture(folder)
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
        )
        if missing := sorted(loading["missing_keys"]):  # transformers would leave them random
            raise ValueError(f"its weights lack {', '.join(missing)}")
        return TransformerBridge.boot_transformers(str(folder), hf_model=inner.to(device).eval(), device=device)
    except LOADING_ERRORS as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"The model in {folder} cannot be loaded: {said}") from error


def _check_architecture(folder: Path) -> None:
    """Stop where TransformerLens does not know the architecture, before anything is loaded."""
    for name in read_json(folder / "config.json").get("architectures") or ():
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
