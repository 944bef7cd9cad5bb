"""The file of a patching sweep."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from an_neuron.files import old_hdf5 as hdf5
from an_neuron.files.old_hdf5 import Dataset

if TYPE_CHECKING:  # a change of how one table is computed must not make all others again
    from an_neuron.patching.sweeps import Sweep

LOGITS = "logits"
RECOVERY = "0 = patch did nothing, 1 = clean restored"
Attributes = Mapping[str, Any]


def write_sweep(path: Path, sweep: "Sweep", dims: tuple[str, ...], attributes: Attributes, **more: Dataset) -> None:
    """Write the result of a patching sweep, patching/….h5.

    =================  ==========  =======  =======================================================
    dataset            dims        dtype    content
    =================  ==========  =======  =======================================================
    recovery           …           float32  of the mean over prompt pairs: 0 = nothing, 1 = clean restored
    recovery_per_prompt_pair  prompt pair, …     float32  of each prompt pair; NaN where a shorter prompt has no position
    logit_difference   prompt pair, …     float32  logit(answer) - logit(foil) with the patch
    clean, corrupted   prompt pair        float32  logit differences without a patch
    standard_error     …           float32  of the prompt pairs' recovery; NaN for a single prompt pair
    nothing            prompt pair        float32  control: logit difference of a row without a patch
    everything         prompt pair        float32  control: of a row whose whole residual stream is patched
    =================  ==========  =======  =======================================================

    The axes … are (layer, pos) for a site, (layer, head) for heads and (d_mlp,) for the neurons of a layer; `more` adds
    datasets.
    """
    per_prompt_pair = ("prompt_pair", *dims)
    datasets = {
        "recovery": Dataset(sweep.recovery, dims, RECOVERY, "recovery of the prompt pairs' mean logit difference"),
        "recovery_per_prompt_pair": Dataset(
            sweep.recovery_per_prompt_pair, per_prompt_pair, RECOVERY, "recovery of each prompt pair"
        ),
        "logit_difference": Dataset(
            sweep.patched, per_prompt_pair, LOGITS, "logit(answer) - logit(foil) with the patch"
        ),
        "clean": Dataset(sweep.clean, ("prompt_pair",), LOGITS, "logit difference of the clean prompt"),
        "corrupted": Dataset(sweep.corrupted, ("prompt_pair",), LOGITS, "logit difference of the corrupted prompt"),
        "standard_error": Dataset(sweep.standard_error, dims, RECOVERY, "standard error of the prompt pairs' recovery"),
        "nothing": Dataset(sweep.nothing, ("prompt_pair",), LOGITS, "control: a row without a patch"),
        "everything": Dataset(
            sweep.everything, ("prompt_pair",), LOGITS, "control: a row patched in all of its stream"
        ),
    }
    hdf5.write(path, {**datasets, **more}, attributes)
