"""A model's folder in Hugging Face format, read without loading the model: its shape and its files."""

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from an_neuron.errors import UserError

GATED_TYPES = (
    *("cohere", "gemma", "gemma2", "gemma3_text", "granite", "llama", "mistral", "olmo", "olmo2", "phi3", "qwen2"),
    *("qwen3", "stablelm"),
)
"""Types of models whose MLPs have a third matrix, the gate; used for estimates alone."""
LARGEST_SIZE = 10**9
"""No model has more layers, dimensions, positions or tokens."""
LONGEST_SHOWN = 100
"""Characters of a wrong value that are shown."""


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder model, and whether its MLPs are gated."""

    n_layers: int
    d_model: int
    d_mlp: int
    n_ctx: int
    d_vocab: int
    gated: bool = False

    @property
    def mlp_parameters(self) -> int:
        """Parameters of a block's MLP matrices."""
        return (3 if self.gated else 2) * self.d_model * self.d_mlp

    @property
    def n_parameters(self) -> int:
        """Parameters of the blocks' matrices and the unembedding, a rough count for estimates of cost."""
        return self.n_layers * (4 * self.d_model**2 + self.mlp_parameters) + self.d_model * self.d_vocab


def is_file(path: Path) -> bool:
    """Return whether a file is there; one that cannot be looked for, by its name or for lack of rights, is not."""
    with suppress(OSError, ValueError):
        return path.is_file()
    return False


def _is_folder(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.is_dir()
    return False


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, sorted by name."""
    return sorted(folder.glob("*.safetensors"))


def folder_mistakes(folder: Path) -> list[str]:
    """Return what keeps a folder from being used as a model, a sentence each; an empty list if nothing does."""
    if not _is_folder(folder):
        return [f"there is no folder {folder}; give one that holds config.json, tokenizer.json and *.safetensors."]
    mistakes = []
    if not is_file(folder / "config.json"):
        mistakes.append(f"{folder} holds no config.json; give the folder that `model.save_pretrained` wrote.")
    if not is_file(folder / "tokenizer.json"):
        mistakes.append(
            f"{folder} holds no tokenizer.json; save the model's fast tokenizer there with "
            f"`AutoTokenizer.from_pretrained(NAME).save_pretrained({str(folder)!r})`."
        )
    if not weight_files(folder):
        mistakes.append(
            f"{folder} holds no *.safetensors (pickled weights are refused, since loading them can run code); "
            "save the weights with `model.save_pretrained(folder)`."
        )
    return mistakes or _kind_mistakes(folder)


def _kind_mistakes(folder: Path) -> list[str]:
    """Return why a folder's model is of a kind that is not studied; no loader sees such a folder."""
    try:
        config = read_json(folder / "config.json")
    except UserError as error:
        return [str(error)]
    names = architectures(config) or [str(config.get("model_type"))]
    senses = [key for key in ("vision_config", "audio_config", "speech_config", "image_config") if config.get(key)]
    if (
        senses
        or any(str(name).endswith("ForConditionalGeneration") for name in names)
        or config.get("is_encoder_decoder")
    ):
        return [
            f"{folder} holds a multimodal model or an encoder-decoder ({', '.join(map(str, names))}); only decoders "
            "that read and write text are studied. Give the folder of its text model, if it has one."
        ]
    return []


def architectures(config: dict[str, Any]) -> list[str]:
    """Return the names of the classes that a config.json says its model is of."""
    names = config.get("architectures")
    return [str(name) for name in names] if isinstance(names, list) else []


def read_shape(folder: Path) -> Shape:
    """Read a model's sizes from its config.json.

    Raises
    ------
    UserError
        If the file is missing or broken, or is not a decoder's configuration.
    """
    path = folder / "config.json"
    config = read_json(path)
    d_model = _first(config, path, "n_embd", "hidden_size", "d_model")
    d_mlp = _size(config, path, "n_inner", "intermediate_size", "ffn_dim") or 4 * d_model
    return Shape(
        n_layers=_first(config, path, "n_layer", "num_hidden_layers", "num_layers"),
        d_model=d_model,
        d_mlp=d_mlp,
        n_ctx=_first(config, path, "n_positions", "max_position_embeddings", "n_ctx", "seq_length"),
        d_vocab=_first(config, path, "vocab_size"),
        gated=config.get("model_type") in GATED_TYPES,
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the content of one of a folder's JSON files.

    Raises
    ------
    UserError
        If it is missing or broken, or holds no keys.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}); give the folder of a Hugging Face model.") from error
    if not isinstance(content, dict):
        raise UserError(
            f"{path} holds {_shown(content)}, where keys with values belong; give the folder of a Hugging Face model."
        )
    return content


def _first(config: dict[str, Any], path: Path, *keys: str) -> int:
    size = _size(config, path, *keys)
    if size is None:
        raise UserError(f"{path} has none of {', '.join(keys)}; it does not describe a decoder language model.")
    return size


def _size(config: dict[str, Any], path: Path, *keys: str) -> int | None:
    """Return the first of some sizes that is given, None if none is."""
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        if type(value) is not int or not 0 < value < LARGEST_SIZE:
            raise UserError(
                f"{path} says {key}: {_shown(value)}, which is no size of a model; give the folder that "
                "`model.save_pretrained` wrote."
            )
        return value
    return None


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
