"""Exact patching held against attribution patching's estimate: how well the estimate orders the neurons that matter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.again import RECOVERY
from an_neuron.patching.neuron_sweeps import NeuronSweeps
from an_neuron.patching.screened import SCREENING
from an_neuron.patching.sweep import mean_recovery
from an_neuron.patching.sweep_files import COMPARED

N_RANKED = 100
LEAST_RANKED = 3
"""Two values are always in perfect order, or in none."""
ROUNDINGS = 64
"""How many roundings of the logit difference still count as no effect; see `rounding_floor`."""

ATTRIBUTION = Schema(
    "patching/neurons/attribution.h5",
    "every swept neuron's exact recovery, and attribution patching's estimate of it",
    {
        "exact": Field("layer d_mlp", "float32", RECOVERY, "recovery, patched for real; NaN if it was not"),
        "approximate": Field("layer d_mlp", "float32", RECOVERY, "recovery as one gradient estimates it"),
        "layer": Field("layer", "int32", "", "the layers that were swept"),
    },
    {
        **COMPARED,
        "floor": "least absolute exact recovery that is more than rounding",
        "n_above_floor": "how many neurons are above it",
        "rank_correlation": "Spearman's, of exact and approximate recovery, over these; NaN if fewer than 3",
        "n_top": "how many of these, of the largest absolute exact recovery, are correlated apart: 100, or all",
        "rank_correlation_top": "the same, over those; NaN if fewer than 3",
        **SCREENING,
    },
)


def write_attribution(
    path: str | Path, sweeps: NeuronSweeps, approximate: Tensor, attributes: Mapping[str, Any]
) -> None:
    """Write patching/neurons/attribution.h5.

    Parameters
    ----------
    approximate
        Estimated logit differences, [prompt_pair, layer, d_mlp].
    """
    estimate = mean_recovery(approximate, sweeps.clean, sweeps.corrupted)
    floor = float(np.fmax(rounding_floor(sweeps.clean, sweeps.corrupted), sweeps.attributes["error_below"]))
    patched = ~sweeps.recovery.isnan()
    correlations = correlate(sweeps.recovery[patched], estimate[patched], floor)
    values = {"exact": sweeps.recovery, "approximate": estimate, "layer": sweeps.layers}
    hdf5.write(path, ATTRIBUTION, values, {**attributes, **sweeps.attributes, **correlations})


def rounding_floor(clean: Tensor, corrupted: Tensor) -> float:
    """Return the recovery below which an effect cannot be told from rounding.

    A recovery is a change of the logit difference divided by clean - corrupted. The logit difference is a float32
    number, so it is known to eps (1.2e-7) times its size at best. It is worse in fact: the two logits that are
    subtracted are several times as large as their difference (and not small where that is: hence a size of at least 1),
    and each is a sum over d_model products that many layers have rounded before. `ROUNDINGS` allows for both: in the
    orchard patches without any effect move the logit difference by up to 3.4 eps of it, and exact patching agrees with
    one forward per patch to about 1e-5 of the range.

    Parameters
    ----------
    clean, corrupted
        Logit differences without a patch, [prompt_pair]. Of several prompt pairs the mean counts, as for recovery.
    """
    size = torch.maximum(clean.abs(), corrupted.abs()).clamp(min=1).mean()
    change = (clean.mean() - corrupted.mean()).abs()
    return float(ROUNDINGS * torch.finfo(torch.float32).eps * size / change)


def correlate(exact: Tensor, estimate: Tensor, floor: float) -> dict[str, float | int]:
    """Return how well the estimate orders the neurons whose exact recovery is above the floor, and the largest of them.

    Most neurons of a ReLU-like model have no effect but rounding; their order is noise, whatever the estimate is worth.

    Parameters
    ----------
    exact, estimate
        Recovery, [neuron].
    floor
        The least absolute exact recovery that counts.

    Returns
    -------
    dict
        The attributes of `ATTRIBUTION` that tell of the correlations.
    """
    ranked = exact.abs().argsort(descending=True, stable=True)[: int((exact.abs() > floor).sum())]
    top = ranked[:N_RANKED]
    return {
        "floor": floor,
        "n_above_floor": len(ranked),
        "rank_correlation": _rank_correlation_of(exact[ranked], estimate[ranked]),
        "n_top": len(top),
        "rank_correlation_top": _rank_correlation_of(exact[top], estimate[top]),
    }


def _rank_correlation_of(exact: Tensor, estimate: Tensor) -> float:
    return rank_correlation(exact, estimate) if len(exact) >= LEAST_RANKED else torch.nan


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Return Spearman's rank correlation of two sets of values, NaN where all values of one are equal.

    Equal values share their mean rank.
    """
    ranks = [_mean_ranks(values.flatten()) for values in (one, other)]
    first, second = (rank - rank.mean() for rank in ranks)
    return float((first @ second) / (first.norm() * second.norm()))


def _mean_ranks(values: Tensor) -> Tensor:
    _, inverse, counts = values.unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    return (last - (counts.double() - 1) / 2)[inverse]
