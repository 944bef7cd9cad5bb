"""A model's folder in Hugging Face format, read without loading the model: its shape and its files."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from an_neuron.errors import UserError

GATED_TYPES = (
    *("cohere", "gemma", "gemma2", "gemma3_text", "granite", "llama", "mistral", "olmo", "olmo2", "phi3", "qwen2"),
    *("qwen3", "stablelm"),
)
"""Types of models whose MLPs have a third matrix, the gate; used for estimates alone."""

ENCODER = "is_encoder_decoder"


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


def weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder, sorted by name."""
    return sorted(folder.glob("*.safetensors"))


def folder_mistakes(folder: Path) -> list[str]:
    """Return what keeps a folder from being used as a model, a sentence each; an empty list if nothing does."""
    if not folder.is_dir():
        return [f"there is no folder {folder}; give one that holds config.json, tokenizer.json and *.safetensors."]
    mistakes = []
    if not (folder / "config.json").is_file():
        mistakes.append(f"{folder} holds no config.json; give the folder that `model.save_pretrained` wrote.")
    if not (folder / "tokenizer.json").is_file():
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
    names = config.get("architectures") or [str(config.get("model_type"))]
    senses = [key for key in ("vision_config", "audio_config", "speech_config", "image_config") if config.get(key)]
    if senses or any(str(name).endswith("ForConditionalGeneration") for name in names) or config.get(ENCODER):
        return [
            f"{folder} holds a multimodal model or an encoder-decoder ({', '.join(map(str, names))}); only decoders "
            "that read and write text are studied. Give the folder of its text model, if it has one."
        ]
    return []


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
    d_mlp = config.get("n_inner") or config.get("intermediate_size") or config.get("ffn_dim") or 4 * d_model
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
        If it is missing or broken.
    """
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); give the folder of a Hugging Face model.") from error


def _first(config: dict[str, Any], path: Path, *keys: str) -> int:
    for key in keys:
        if isinstance(config.get(key), int):
            return int(config[key])
    raise UserError(f"{path} has none of {', '.join(keys)}; it does not describe a decoder language model.")
