"""Exact patching held against attribution patching's estimate: how well the estimate orders the neurons."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from an_neuron.files import hdf5
from an_neuron.files.schema import Field, Schema
from an_neuron.patching.neuron_sweeps import NeuronSweeps
from an_neuron.patching.sweep import mean_recovery
from an_neuron.patching.sweep_files import COMPARED, RECOVERY

N_RANKED = 100

ATTRIBUTION = Schema(
    "patching/neurons/attribution.h5",
    "every swept neuron's exact recovery, and attribution patching's estimate of it",
    {
        "exact": Field("layer d_mlp", "float32", RECOVERY, "recovery, patched for real"),
        "approximate": Field("layer d_mlp", "float32", RECOVERY, "recovery as one gradient estimates it"),
        "layer": Field("layer", "int32", "", "the layers that were swept"),
    },
    {
        **COMPARED,
        "rank_correlation": "Spearman's, of exact and approximate recovery, over all neurons",
        "rank_correlation_top": "the same, over the neurons of the largest absolute exact recovery",
        "n_top": "how many these are",
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
    n_top = min(N_RANKED, sweeps.recovery.numel())
    top = sweeps.recovery.abs().flatten().topk(n_top).indices
    correlations = {
        "rank_correlation": rank_correlation(sweeps.recovery, estimate),
        "rank_correlation_top": rank_correlation(sweeps.recovery.flatten()[top], estimate.flatten()[top]),
        "n_top": n_top,
    }
    values = {"exact": sweeps.recovery, "approximate": estimate, "layer": sweeps.layers}
    hdf5.write(path, ATTRIBUTION, values, {**attributes, **sweeps.attributes, **correlations})


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
