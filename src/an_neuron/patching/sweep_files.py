"""The files of patching sweeps: one schema for each kind of sweep, and their writer."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema

if TYPE_CHECKING:  # what only reads sweeps needs no torch
    from an_neuron.patching.sweep import Sweep

LOGITS = "logits"
RECOVERY = "0 = patch did nothing, 1 = clean restored"
COMPARED = {
    "answer": "text of the answer token",
    "foil": "text of the foil token",
    "answer_id": "its token id",
    "foil_id": "its token id",
}


def _sweep_schema(
    path: str, description: str, axes: str, patched: Mapping[str, str], named: Mapping[str, Field] | None = None
) -> Schema:
    """Return the schema of a sweep over some axes; attributes, or values that name them, say what was patched."""
    per_prompt_pair = f"prompt_pair {axes}"
    fields = {
        "recovery": Field(axes, "float32", RECOVERY, "recovery of the prompt pairs' mean logit difference"),
        "recovery_per_prompt_pair": Field(per_prompt_pair, "float32", RECOVERY, "recovery of each prompt pair"),
        "logit_difference": Field(per_prompt_pair, "float32", LOGITS, "logit(answer) - logit(foil) with the patch"),
        "clean": Field("prompt_pair", "float32", LOGITS, "logit difference of the clean prompt"),
        "corrupted": Field("prompt_pair", "float32", LOGITS, "logit difference of the corrupted prompt"),
        "standard_error": Field(axes, "float32", RECOVERY, "standard error of the prompt pairs' recovery"),
        "spot_check": Field("check", "text", "", "what was measured again by an ordinary forward"),
        "spot_check_prompt_pair": Field("check", "int32", "", "number of its prompt pair"),
        "spot_check_logit_difference": Field("check", "float32", LOGITS, "as this file has it"),
        "spot_check_ordinary": Field("check", "float32", LOGITS, "as the ordinary forward gives it"),
    }
    way = {"way": "fast: all patches in one pass; ordinary: one forward per patch"}
    return Schema(path, description, {**fields, **(named or {})}, {**COMPARED, **patched, **way})


SITE = _sweep_schema(
    "patching/{site}.h5",
    "recovery with one site patched at each layer and position; NaN where a shorter prompt has no position",
    "layer pos",
    {"site": "the site that was patched"},
    {
        f"{kind}_token": Field("prompt_pair pos", "text", "", f"tokens of {kind} prompts")
        for kind in ("clean", "corrupted")
    },
)
HEADS = _sweep_schema(
    "patching/heads/{head_site}.h5",
    "recovery with one site of each attention head patched at all positions",
    "layer head",
    {"site": "the site that was patched"},
)
NEURONS = _sweep_schema(
    "patching/neurons/layers_{layers}.h5",
    "recovery with each neuron of consecutive layers patched at all positions",
    "layer d_mlp",
    {},
    {"layer": Field("layer", "int32", "", "the layers whose neurons were patched")},
)


def write_sweep(path: str | Path, schema: Schema, sweep: "Sweep", attributes: Mapping[str, Any], **named: Any) -> None:
    """Write a sweep's file.

    Parameters
    ----------
    schema
        `SITE`, `HEADS` or `NEURONS`.
    attributes
        The root attributes that the schema names, and those of every file.
    named
        What names the axes: for `SITE` clean_token and corrupted_token, [prompt_pair, pos]; for `NEURONS` layer.
    """
    values = {
        "recovery": sweep.recovery,
        "recovery_per_prompt_pair": sweep.recovery_per_prompt_pair,
        "logit_difference": sweep.patched,
        "clean": sweep.clean,
        "corrupted": sweep.corrupted,
        "standard_error": sweep.standard_error,
        "spot_check": [check.what for check in sweep.checks],
        "spot_check_prompt_pair": [check.prompt_pair for check in sweep.checks],
        "spot_check_logit_difference": [check.value for check in sweep.checks],
        "spot_check_ordinary": [check.ordinary for check in sweep.checks],
    }
    hdf5.write(path, schema, {**values, **named}, {**attributes, "way": sweep.way})
