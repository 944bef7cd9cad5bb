"""Opening a model for a notebook, wherever it is."""

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformer_lens.model_bridge import TransformerBridge

from an_neuron.errors import UserError
from an_neuron.model.devices import kind
from an_neuron.model.fetching import fetch
from an_neuron.model.loading import load_model
from an_neuron.model.tokenizer import Tokenizer

SOURCES = ({"hub", "revision"}, {"package", "file", "sha256"}, {"gguf"}, {"folder"})
"""The keys of each kind of source, as the configuration's `model:` spells them."""


def open_model(
    model: str | Path | Mapping[str, str], revision: str = "main", device: str = "auto"
) -> TransformerBridge:
    """Load a model in float32 as a TransformerLens bridge, its weights as they are.

    Parameters
    ----------
    model
        A folder in Hugging Face format, a GGUF file, or a name on the Hugging Face hub; or a source as a study of the
        workflow gives it: {"package": …, "file": …, "sha256": …}.
    revision
        For a name on the hub: a branch or, so that the result can be repeated, a commit.
    device
        A torch device; "auto" is cuda, then mps, then cpu.

    Raises
    ------
    UserError
        If there is no such model, or it cannot be fetched, loaded or bridged.
    """
    source = _source(model, revision)
    if "folder" in source:
        return load_model(Path(source["folder"]), kind(device))
    with TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # the hub's and pip's caches keep what was fetched
        folder = Path(scratch) / "model"
        fetch(source, folder)
        return load_model(folder, kind(device))


def _source(model: str | Path | Mapping[str, str], revision: str) -> dict[str, str]:
    """Return where a model is, by the keys of one of `SOURCES`."""
    if isinstance(model, Mapping):
        if {*model} not in SOURCES:
            raise UserError(
                "A model's source has the keys hub and revision, or package, file and sha256, or gguf, or folder; not "
                f"{', '.join(model) or 'none'}."
            )
        return dict(model)
    if not isinstance(model, str | Path):
        raise UserError(
            f"A model is a folder, a GGUF file, a name on the hub, a bridge or an Engine; not {type(model).__name__}."
        )
    path = Path(model)
    if path.suffix == ".gguf":
        return {"gguf": str(path)}
    if path.exists() or not _is_hub_name(model):
        return {"folder": str(path)}
    return {"hub": str(model), "revision": revision}


def _is_hub_name(model: str | Path) -> bool:
    """Return whether something may be a name on the hub: "gpt2", or "owner/name"."""
    parts = str(model).split("/")
    return isinstance(model, str) and len(parts) <= 2 and all(part and not part.startswith(".") for part in parts)


def tokenizer_of(bridge: TransformerBridge) -> Tokenizer:
    """Return a bridge's tokenizer.

    Raises
    ------
    UserError
        If it has none, or a slow one.
    """
    tokenizer: Any = getattr(bridge, "tokenizer", None)
    if not getattr(tokenizer, "is_fast", False):
        raise UserError(
            "The bridge has no fast tokenizer; give it one, `bridge.tokenizer = AutoTokenizer.from_pretrained(NAME)`."
        )
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tokenizer.save_pretrained(folder)
        names = ("bos_token_id", "eos_token_id")
        ids = {name: getattr(bridge.original_model.config, name, None) for name in names}
        (folder / "config.json").write_text(json.dumps(ids), encoding="utf-8")
        return Tokenizer(folder)
