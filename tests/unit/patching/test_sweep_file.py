import numpy as np
import pytest
import torch

from an_neuron import tables
from an_neuron.files import old_hdf5 as hdf5
from an_neuron.files.old_hdf5 import Dataset
from an_neuron.patching.sweeps import Sweep

ORIGIN = {"study": "letters", "model": "micro", "revision": "local folder", "dtype": "float32"}


def test_a_sweep_is_stored_with_recovery_of_all_and_of_each(tmp_path):
    path = tmp_path / "sweep.h5"
    patched = torch.tensor([[torch.nan, 1.0], [1.0, 4.0]])
    clean, corrupted = torch.tensor([2.0, 4.0]), torch.tensor([0.0, -2.0])
    sweep = Sweep(clean, corrupted, patched, nothing=corrupted, everything=clean)
    more = {"token": Dataset(["x", "y"], ("pos",))}
    tables.write_sweep(path, sweep, ("pos",), {**ORIGIN, "layer": 3}, **more)
    table = hdf5.read(path)
    assert table["recovery"].tolist() == pytest.approx([0.5, 0.875])
    assert table["recovery_per_prompt_pair"].ravel().tolist() == pytest.approx([np.nan, 0.5, 0.5, 1], nan_ok=True)
    assert table["logit_difference"].ravel().tolist() == pytest.approx([np.nan, 1, 1, 4], nan_ok=True)
    assert (table["clean"].tolist(), table["corrupted"].tolist()) == ([2, 4], [0, -2])
    assert (table["token"].tolist(), table.attributes["layer"]) == (["x", "y"], 3)
