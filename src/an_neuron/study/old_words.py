"""Words that the configuration no longer uses, and what stands for them now."""

from collections.abc import Mapping
from typing import Any

from an_neuron.files.texts import neuron_name

KEYS = {"pairs": "associations"}
"""Keys of a study that have a new name."""


def in_new_words(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a configuration in today's words, so that other mistakes show too, and a sentence for each old word."""
    studies, sentences = config.get("studies"), []
    if not isinstance(studies, Mapping):
        return dict(config), []
    translated = {}
    for name, study in studies.items():
        translated[name], old = _study(study) if isinstance(study, Mapping) else (study, [])
        sentences += [f"studies.{name}.{sentence}" for sentence in old]
    return {**config, "studies": translated}, sentences


def _study(block: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    study = {KEYS.get(key, key): value for key, value in block.items()}
    sentences = [f"{old}: this key is called {new} now." for old, new in KEYS.items() if old in block]
    if _is_neuron(study.get("neuron")):
        study["neuron"] = neuron_name(study["neuron"]["layer"], study["neuron"]["index"])
        sentences.append(f'neuron: layer and index are one name now; write neuron: "{study["neuron"]}".')
    if isinstance(study.get("associations"), list):
        study["associations"] = list(study["associations"])
        for number, listed in enumerate(study["associations"]):
            if _is_neuron(listed):
                name = neuron_name(listed["layer"], listed["index"])
                others = {key: value for key, value in listed.items() if key not in ("layer", "index")}
                study["associations"][number] = {**others, "neuron": name}
                sentences.append(f'associations[{number}]: layer and index are one key now; write neuron: "{name}".')
    return study, sentences


def _is_neuron(block: Any) -> bool:
    """Tell whether a block names a neuron by two keys, as it once did; others may stand beside them."""
    return isinstance(block, Mapping) and all(type(block.get(key)) is int for key in ("layer", "index"))
