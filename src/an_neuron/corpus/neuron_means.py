"""The mean of every neuron over a corpus, for interventions."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from an_neuron.corpus.neuron_files import NEURONS
from an_neuron.files import hdf5


def neuron_means(path: str | Path) -> dict[tuple[int, str], Tensor]:
    """Return each watched layer's mean activations over the corpus, [d_mlp] float64, as `Mean` takes them.

        patch_neurons(engine, prompt_pairs, metric, put=Mean(neuron_means("results/mine/activations/neurons.h5")))

    Parameters
    ----------
    path
        activations/neurons.h5.

    Raises
    ------
    UserError
        If it is missing or damaged.
    """
    table = hdf5.read(path, NEURONS)
    means = torch.from_numpy(table["mean"].astype(np.float64))
    return {(layer, "post"): mean for layer, mean in zip(table["layer"].tolist(), means, strict=True)}
