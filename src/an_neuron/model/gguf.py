"""GGUF files, read by transformers' own reader and written as a folder in Hugging Face format."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from an_neuron.errors import UserError
from an_neuron.files.atomic import check_room

log = logging.getLogger(__name__)


def dequantize(file: Path, folder: Path) -> str:
    """Write the model and the tokenizer of a GGUF file into a folder: config.json, float32 safetensors, tokenizer.json.

    The weights are those of the file, rounded as it stores them; float32 adds no further rounding.

    Parameters
    ----------
    file
        The GGUF file.
    folder
        An existing folder.

    Returns
    -------
    str
        The kind of rounding that the file says of itself: "MOSTLY_Q4_1", or "not stated".

    Raises
    ------
    UserError
        If the file is no GGUF, or transformers cannot read its architecture, its tokenizer or all of its weights; or if
        the memory does not hold them.
    FullDiskError
        If the disk has no room for the weights in float32, before they are read.
    """
    from transformers import AutoTokenizer

    from an_neuron.model.memory import check_bytes

    if not file.is_file():
        raise UserError(f"There is no GGUF file {file}.")
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise UserError(f"{file} is no GGUF file: it does not begin with the letters GGUF.")
    place = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name, "local_files_only": True}
    try:
        needed, kind = _described(file)
        check_room(folder / "model.safetensors", needed)
        check_bytes(needed, f"in {file}")
        log.info("Dequantizing %s …", file.name)
        _save_model(place, folder)
        AutoTokenizer.from_pretrained(**place, trust_remote_code=False).save_pretrained(folder)
        return kind
    except (ImportError, KeyError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"transformers cannot read the GGUF file {file}: {reason}") from error


def _save_model(place: Mapping[str, Any], folder: Path) -> None:
    """Write the configuration and the weights, in float32, of what transformers finds at a place."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    model, loading = AutoModelForCausalLM.from_pretrained(
        **place, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
    )
    if missing := sorted(loading["missing_keys"]):  # transformers would leave them random
        raise ValueError(f"its weights lack {', '.join(missing)}")
    del model.config.quantization_config  # the weights are not quantized any more; with it they cannot be saved
    model.hf_quantizer = None
    model.save_pretrained(folder)


def _described(file: Path) -> tuple[int, str]:
    """Return how many bytes a GGUF file's weights take in float32, and the kind of rounding that it says of itself."""
    from gguf import GGUFReader, LlamaFileType

    reader = GGUFReader(file)  # takes a second and a half for a vocabulary of 50,000 tokens
    kind = reader.get_field("general.file_type")
    name = "not stated" if kind is None else LlamaFileType(int(kind.contents())).name
    return 4 * sum(int(tensor.n_elements) for tensor in reader.tensors), name
