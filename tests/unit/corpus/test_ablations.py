import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from book_pass import gathered

from an_neuron.corpus.ablation import ablate
from an_neuron.corpus.ablations import (
    INTERVENTIONS,
    LOSSES,
    PLACES,
    SUMMARY,
    Ablation,
    ablation_frame,
    losses_bytes,
    write_losses,
    write_summary,
)
from an_neuron.corpus.ablator import Ablator
from an_neuron.corpus.associations import Association
from an_neuron.corpus.intervals import mean_intervals
from an_neuron.corpus.recordings import read_means
from an_neuron.errors import UserError
from an_neuron.files import hdf5

ASSOCIATIONS = [Association(" an", 26, 1, 20, "studied"), Association("b", 2, 0, 8, "listed")]
ORIGIN = {"foil": " a", "foil_id": 15, "study": "tiny"}
ROWS = np.random.default_rng(5).integers(1, 35, (6, 12)).astype(np.int32)
ROWS[:, 0] = 0


def table_of(path, means=(0.5, -0.25), groups=("row", [0, 1, 2])):
    """Write and read a table of three rows, whose numbers are easy to add up."""
    count = np.array([[[2, 1, 7], [0, 1, 9], [1, 0, 9]], [[1, 0, 9], [0, 0, 10], [0, 0, 10]]])
    change = np.arange(1, 4)[None, :, None, None] * count[:, None] * [0.5, -0.25, 0.0]
    sums = {"count": count, "loss": 2.0 * count, "loss_change": change}
    sums |= {"probability": 0.5 * count, "probability_change": -change / 10}
    difference = np.stack([1.0 * count[0], np.full((3, 3), np.nan)])
    sums |= {"logit_difference": difference, "logit_difference_change": np.stack([-change[0], np.nan * change[1]])}
    write_losses(path, ASSOCIATIONS, means, Ablation(sums, "above", 1e-6), groups, ORIGIN)
    return hdf5.read(path, LOSSES)


def test_means_are_those_of_the_table_done_by_hand(tmp_path):
    frame = ablation_frame(table_of(tmp_path / "losses.h5"))
    assert list(frame) == list(SUMMARY.fields)
    studied, listed = frame[frame["token"] == "' an'"], frame[frame["token"] == "'b'"]
    assert studied["intervention"].tolist() == [name for name in INTERVENTIONS for _ in PLACES]
    assert studied["place"].tolist() == [*PLACES] * 3
    assert listed["place"].tolist() == ["token", "elsewhere"] * 3, "another token has no foil"
    assert studied["n"].tolist() == [3, 2, 25] * 3
    assert studied["n_rows"].tolist() == [2, 2, 3] * 3
    assert (studied["loss"] == 2.0).all()
    assert studied["loss_change"].tolist() == [0.5, -0.25, 0, 1.0, -0.5, 0, 1.5, -0.75, 0]
    assert studied["loss_ablated"].tolist() == [2.5, 1.75, 2, 3.0, 1.5, 2, 3.5, 1.25, 2]
    assert studied["probability_ablated"].tolist()[:3] == pytest.approx([0.45, 0.525, 0.5])
    assert studied["logit_difference_ablated"].tolist()[:3] == [0.5, 1.25, 1.0]
    assert listed["logit_difference_change"].isna().all()
    # Every place changes alike, so that every sample of the rows that holds one has the same mean.
    for end in ("low", "high"):
        assert studied[f"loss_change_{end}"].tolist() == pytest.approx(studied["loss_change"].tolist())


def test_the_summary_comes_back_as_it_was_written(tmp_path):
    frame = ablation_frame(table_of(tmp_path / "losses.h5"))
    write_summary(tmp_path / "summary.csv", frame)
    again = pd.read_csv(tmp_path / "summary.csv")
    pd.testing.assert_frame_equal(again, frame, check_dtype=False, atol=1e-7)


def test_rows_of_a_document_are_drawn_together(tmp_path):
    """Two groups of rows give the intervals of two rows that hold their sums; one group gives none."""
    by_row = table_of(tmp_path / "rows.h5")
    together = table_of(tmp_path / "documents.h5", groups=("document", [0, 0, 1]))
    assert ablation_frame(together)["resampled"].unique().tolist() == ["document"]
    change, count = by_row["loss_change"].astype(float), by_row["count"]
    sums = (np.stack([each[0, :2].sum(0), each[0, 2]]) for each in (change[:, 0], count))
    low, high = mean_intervals(*sums)
    found = ablation_frame(together)[:3]
    assert found["loss_change_low"].tolist() == pytest.approx(low.tolist())
    assert found["loss_change_high"].tolist() == pytest.approx(high.tolist())
    assert ablation_frame(table_of(tmp_path / "one.h5", groups=("document", [0, 0, 0])))["loss_change_low"].isna().all()


def test_means_leave_out_bos(tmp_path, tiny_of):
    tiny = tiny_of("llama")
    path = gathered(tmp_path, tiny, ROWS, ASSOCIATIONS, n_shards=2, foil=15)
    activation = hdf5.read(path)["activation"].astype(float)
    found = read_means(path, ASSOCIATIONS)
    assert found == pytest.approx(activation[:, :, 1:].mean((1, 2)).tolist())
    assert found != pytest.approx(activation.mean((1, 2)).tolist(), abs=1e-3)
    with pytest.raises(UserError, match="does not hold the associations"):
        read_means(path, ASSOCIATIONS[:1])


def test_a_summary_holds_the_means_whatever_the_shards(tmp_path, tiny_of):
    tiny = tiny_of("llama")
    every, *kept = (
        read_means(gathered(tmp_path / f"{keep}_{n}", tiny, ROWS, ASSOCIATIONS, n, keep, size=1), ASSOCIATIONS)
        for keep, n in (("all", 1), ("summary", 1), ("summary", 2), ("summary", 6))
    )
    assert kept[0] == pytest.approx(every, abs=5e-7)
    assert kept[0] == kept[1] == kept[2]


def test_what_a_pass_finds_is_written_with_the_same_bytes(tmp_path, tiny_of):
    found = ablate(Ablator(tiny_of("llama").raw, ASSOCIATIONS, 15, [0.5, -0.25]), ROWS)
    for name in "ab":
        write_losses(tmp_path / f"{name}.h5", ASSOCIATIONS, [0.5, -0.25], found, ("row", np.arange(len(ROWS))), ORIGIN)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    frame = ablation_frame(hdf5.read(tmp_path / "a.h5", LOSSES))
    first = frame.iloc[2]
    assert first["n"] + frame["n"][:2].sum() == 6 * 11
    assert first["loss_change_low"] < first["loss_change"] < first["loss_change_high"]


def test_describing_needs_no_torch():
    code = "import sys, an_neuron.corpus.ablations; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bytes_are_those_of_the_table(tmp_path):
    table = table_of(tmp_path / "losses.h5")
    wanted = [values.nbytes for name, values in table.datasets.items() if values.dtype != object]
    assert losses_bytes(2, 3) == sum(wanted)
