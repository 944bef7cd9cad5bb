import numpy as np
import pytest
import torch

from an_neuron.files import hdf5
from an_neuron.patching.spot_checks import SpotCheck
from an_neuron.patching.sweep import Sweep
from an_neuron.patching.sweep_files import HEADS, NEURONS, SITE, write_sweep

ORIGIN = {"study": "letters", "answer": "c", "foil": "d", "answer_id": 3, "foil_id": 4}
CLEAN, CORRUPTED = torch.tensor([2.0, 4.0]), torch.tensor([0.0, -2.0])
TOKENS = np.array([["x", "y"], ["", "z"]], dtype=object)


def sweep(patched):
    checks = (SpotCheck("", 1, "clean prompt", 4, 4.25), SpotCheck("mlp_out", 0, "layer 0, position 1", 1, 1))
    return Sweep(CLEAN, CORRUPTED, patched, checks, "ordinary")


def test_a_sweep_is_stored_with_recovery_of_all_and_of_each(tmp_path):
    path = tmp_path / "mlp_out.h5"
    patched = torch.tensor([[[torch.nan, 1.0]], [[1.0, 4.0]]])
    attributes = {**ORIGIN, "site": "mlp_out"}
    write_sweep(path, SITE, sweep(patched), attributes, clean_token=TOKENS, corrupted_token=TOKENS)
    table = hdf5.read(path)
    assert table["recovery"].tolist() == [pytest.approx([0.5, 0.875])]
    assert table["recovery_per_prompt_pair"].ravel().tolist() == pytest.approx([np.nan, 0.5, 0.5, 1], nan_ok=True)
    assert table["logit_difference"].ravel().tolist() == pytest.approx([np.nan, 1, 1, 4], nan_ok=True)
    assert (table["clean"].tolist(), table["corrupted"].tolist()) == ([2, 4], [0, -2])
    assert table["spot_check"].tolist() == ["clean prompt", "layer 0, position 1"]
    assert table["spot_check_prompt_pair"].tolist() == [1, 0]
    assert table["spot_check_logit_difference"].tolist() == [4, 1]
    assert table["spot_check_ordinary"].tolist() == [4.25, 1]
    assert table.attributes["way"] == "ordinary"
    assert table["clean_token"].tolist() == table["corrupted_token"].tolist() == TOKENS.tolist()
    assert table.attributes["site"] == "mlp_out"


def test_a_file_that_is_not_its_schemas_is_refused(tmp_path):
    patched = torch.tensor([[0.5, 1.0], [1.0, 4.0]])
    with pytest.raises(ValueError, match="lacks layer"):
        write_sweep(tmp_path / "layers_3-3.h5", NEURONS, sweep(patched[:, None]), {**ORIGIN, "precision": "highest"})
    with pytest.raises(ValueError, match="recovery has 1 axes"):
        write_sweep(tmp_path / "z.h5", HEADS, sweep(patched), {**ORIGIN, "site": "z"})
    with pytest.raises(ValueError, match="lacks clean_token, corrupted_token"):
        write_sweep(tmp_path / "mlp_out.h5", SITE, sweep(patched[:, None]), {**ORIGIN, "site": "mlp_out"})
    assert not list(tmp_path.iterdir())
