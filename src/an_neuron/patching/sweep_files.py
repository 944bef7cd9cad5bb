"""The files of patching sweeps: one schema for each kind of sweep, and their writer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.patching import screened
from an_neuron.patching.again import FIELDS, NOTHING, PRECISION, RECOVERY, fields_of
from an_neuron.patching.screened import EVERY, OF, Screened

if TYPE_CHECKING:  # what only reads sweeps needs no torch
    from an_neuron.patching.sweep import Sweep

LOGITS = "logits"
COMPARED = {
    "answer": "text of the answer token",
    "foil": "text of the foil token",
    "answer_id": "its token id",
    "foil_id": "its token id",
}


@dataclass(frozen=True)
class Measured:
    """What a sweep measures: the field that holds it, its unit, what it is, and the attributes that say of what."""

    field: str
    unit: str
    what: str
    said: Mapping[str, str]


LOGIT_DIFFERENCE = Measured("logit_difference", LOGITS, "logit difference", COMPARED)
ACTIVATION = Measured(
    "activation",
    "hook_post",
    "activation of the studied neuron at the last position",
    {"neuron_layer": "layer of the studied neuron", "neuron_index": "its number in the layer"},
)


def _sweep_schema(
    path: str,
    description: str,
    axes: str,
    patched: Mapping[str, str],
    named: Mapping[str, Field] | None = None,
    measured: Measured = LOGIT_DIFFERENCE,
) -> Schema:
    """Return the schema of a sweep over some axes; attributes, or values that name them, say what was patched."""
    per_prompt_pair, unit, what = f"prompt_pair {axes}", measured.unit, measured.what
    fields = {
        "recovery": Field(axes, "float32", RECOVERY, f"recovery of the prompt pairs' mean {what}"),
        "recovery_per_prompt_pair": Field(per_prompt_pair, "float32", RECOVERY, "recovery of each prompt pair"),
        measured.field: Field(per_prompt_pair, "float32", unit, f"{what} with the patch"),
        "clean": Field("prompt_pair", "float32", unit, f"{what} in the clean prompt"),
        "corrupted": Field("prompt_pair", "float32", unit, f"{what} in the corrupted prompt"),
        "standard_error": Field(axes, "float32", RECOVERY, "standard error of the prompt pairs' recovery"),
        "spot_check": Field("check", "text", "", "what was measured again by an ordinary forward"),
        "spot_check_prompt_pair": Field("check", "int32", "", "number of its prompt pair"),
        f"spot_check_{measured.field}": Field("check", "float32", unit, "as this file has it"),
        "spot_check_ordinary": Field("check", "float32", unit, "as the ordinary forward gives it"),
    }
    way = {"way": "fast: all patches in one pass; ordinary: one forward per patch"}
    return Schema(path, description, {**fields, **(named or {})}, {**measured.said, **patched, **way})


TOKENS = {
    f"{kind}_token": Field("prompt_pair pos", "text", "", f"tokens of {kind} prompts")
    for kind in ("clean", "corrupted")
}
SITE = _sweep_schema(
    "patching/{site}.h5",
    "recovery with one site patched at each layer and position; NaN where a shorter prompt has no position",
    "layer pos",
    {"site": "the site that was patched"},
    TOKENS,
)
HEADS = _sweep_schema(
    "patching/heads/{head_site}.h5",
    "recovery with one site of each attention head patched at all positions",
    "layer head",
    {"site": "the site that was patched"},
)
NEURONS = _sweep_schema(
    "patching/neurons/layers_{layers}.h5",
    "recovery with each neuron of consecutive layers patched at all positions; NaN of those that a screen left out",
    "layer d_mlp",
    {**PRECISION, "screened_of": OF},
    {"layer": Field("layer", "int32", "", "the layers whose neurons were patched"), **FIELDS, **screened.FIELDS},
)
DRIVING_SITE = _sweep_schema(
    "drivers/{site}.h5",
    "recovery of the studied neuron's activation with one site patched at each layer and position; 0 in later layers",
    "layer pos",
    {"site": "the site that was patched"},
    TOKENS,
    ACTIVATION,
)
DRIVING_HEADS = _sweep_schema(
    "drivers/heads_{head_site}.h5",
    "recovery of the studied neuron's activation with each head patched at all positions; 0 in later layers",
    "layer head",
    {"site": "the site that was patched"},
    None,
    ACTIVATION,
)


def write_sweep(path: str | Path, schema: Schema, sweep: "Sweep", attributes: Mapping[str, Any], **named: Any) -> None:
    """Write a sweep's file.

    Parameters
    ----------
    schema
        `SITE`, `HEADS`, or one of the studied neuron's drivers.
    attributes
        The root attributes that the schema names, and those of every file.
    named
        Other fields of the schema: for `SITE` clean_token and corrupted_token, [prompt_pair, pos].
    """
    measured = next(each.field for each in (LOGIT_DIFFERENCE, ACTIVATION) if each.field in schema.fields)
    values = {
        "recovery": sweep.recovery,
        "recovery_per_prompt_pair": sweep.recovery_per_prompt_pair,
        measured: sweep.patched,
        "clean": sweep.clean,
        "corrupted": sweep.corrupted,
        "standard_error": sweep.standard_error,
        "spot_check": [check.what for check in sweep.checks],
        "spot_check_prompt_pair": [check.prompt_pair for check in sweep.checks],
        f"spot_check_{measured}": [check.value for check in sweep.checks],
        "spot_check_ordinary": [check.ordinary for check in sweep.checks],
    }
    hdf5.write(path, schema, {**values, **named}, {**attributes, "way": sweep.way})


def write_neurons(
    path: str | Path,
    sweep: "Sweep",
    layers: Sequence[int],
    attributes: Mapping[str, Any],
    chosen: Screened = EVERY,
) -> None:
    """Write the sweep over the neurons of some layers, patching/neurons/layers_….h5, or over those that were chosen."""
    named = {"layer": layers, **fields_of(sweep.again or NOTHING), **screened.fields_of(chosen)}
    said = {"precision": sweep.precision, "screened_of": chosen.of}
    write_sweep(path, NEURONS, sweep, {**attributes, **said}, **named)
