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
from an_neuron.patching.rounding import rounding_floor
from an_neuron.patching.screened import SCREENING
from an_neuron.patching.sweep import mean_recovery
from an_neuron.patching.sweep_files import COMPARED

N_RANKED = 100
LEAST_RANKED = 3
"""Two values are always in perfect order, or in none."""

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
