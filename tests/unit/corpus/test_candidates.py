import numpy as np
import pytest
import torch

from an_neuron.corpus.associations import Association
from an_neuron.corpus.candidate_files import passed_over, taken_associations, write_candidates
from an_neuron.corpus.candidates import (
    RangeReader,
    Ranges,
    judge_candidates,
    measure_ranges,
    occurrences,
    sampled_rows,
)
from an_neuron.corpus.rows import spread_rows, write_tokens
from an_neuron.files import hdf5
from an_neuron.files.hdf5 import Table

ROWS = [[0, 3, 4, 5], [0, 6, 8, 9], [0, 7, 7, 2]]


@pytest.fixture
def best(tmp_path):
    """Tokens 0 to 3 and neurons 0.0 to 0.3 are mutually best, each more distinctive than the next."""
    gaps = np.array([4.0, 3.0, 2.0, 1.0])
    neurons = {
        "value": np.stack([9 + gaps, np.full(4, 9.0)], axis=1),
        "layer": np.zeros((4, 2), dtype=int),
        "index": np.array([[0, 1], [1, 0], [2, 0], [3, 0]]),
        "token": np.array(["Ol", ".", " grass", " went"], dtype=object),
    }
    tokens = {"value": neurons["value"][None], "token": np.array([[[0, 1], [1, 0], [2, 0], [3, 0]]])}
    return Table(tmp_path / "top_neurons.h5", neurons, {}), Table(tmp_path / "top_tokens.h5", tokens, {})


def ranges(most, least=(0, 0, 0, 0), signed=False):
    return Ranges(np.array([least], dtype=np.float32), np.array([most], dtype=np.float32), signed, 8192)


def test_what_the_corpus_cannot_show_is_passed_over(best):
    """The first token does not occur, the second one's neuron is never above 0; the third is taken, that is all."""
    frame = judge_candidates(*best, [0, 9, 1, 9], ranges([1, 0, 0.5, 1], [0, -0.17, 0, 0]), 1)
    assert frame["token"].tolist() == ["Ol", ".", " grass"]
    assert frame["verdict"].tolist() == ["token not in the corpus", "neuron does not fire", "taken"]
    assert (frame["occurrences"].tolist(), frame["most"].tolist()) == ([0, 9, 1], [1, 0, 0.5])


def test_neurons_of_gated_models_fire_with_either_sign(best):
    counts, of_neurons = [9, 9, 9, 9], ([0, 0, 1, -0.5], [0, -2, 0.5, -3])
    signed = judge_candidates(*best, counts, ranges(*of_neurons, signed=True), 9)
    assert signed["verdict"].tolist() == ["neuron does not fire", "taken", "taken", "taken"]
    unsigned = judge_candidates(*best, counts, ranges(*of_neurons), 9)
    assert unsigned["verdict"].tolist() == [*["neuron does not fire"] * 2, "taken", "neuron does not fire"]


@pytest.mark.parametrize(("number", "looked_at"), [(0, 0), (2, 2), (4, 4), (9, 4)])
def test_as_many_are_taken_as_are_wanted_and_there(best, number, looked_at):
    frame = judge_candidates(*best, [1, 1, 1, 1], ranges([1, 1, 1, 1]), number)
    assert frame["verdict"].tolist() == ["taken"] * looked_at


def test_they_are_stored_with_a_sentence_on_those_passed_over(best, tmp_path):
    path, csv = tmp_path / "candidates.h5", tmp_path / "candidates.csv"
    for number, said in (
        (1, "3 clearest mutually exclusive associations 2 were passed over: 1 whose token does not occur in the "
            "corpus, and 1 whose neuron does not fire at 8,192 tokens of it."),
        (0, ""),
    ):  # fmt: skip
        frame = judge_candidates(*best, [0, 9, 1, 9], ranges([1, 0, 0.5, 1]), number)
        write_candidates(path, csv, frame, {"n_tokens": 8192, "signed": False})
        table = hdf5.read(path)
        assert passed_over(table).endswith(said)
        assert bool(passed_over(table)) == bool(said)
        assert len(csv.read_text().splitlines()) == 1 + len(frame)
        expected = [Association(" grass", 2, 0, 2, "exclusive")] if number else []
        assert taken_associations(table) == expected


def test_tokens_are_counted_without_the_rows_bos():
    assert occurrences(np.array(ROWS), 12).tolist() == [0, 0, 1, 1, 1, 1, 1, 2, 1, 1, 0, 0]


def test_rows_are_spread_over_the_whole_corpus():
    rows = np.arange(100)[:, None] * np.ones((1, 4), dtype=int)
    assert spread_rows(rows, 12)[:, 0].tolist() == [0, 50, 99]  # 49.5 goes to the even number
    assert spread_rows(rows, 9)[:, 0].tolist() == [0, 50, 99]
    assert spread_rows(rows, 4)[:, 0].tolist() == [0]
    assert spread_rows(rows, 1000).tolist() == rows.tolist()


@torch.inference_mode()
def test_ranges_are_those_of_every_neuron_without_bos(tiny, tmp_path):
    """Held against the activations of the Hugging Face model, whatever runs in one batch."""
    path = tmp_path / "tokens.h5"
    write_tokens(path, np.array(ROWS, dtype=np.int32), {})
    reader = RangeReader(tiny.raw)
    counts, rows = sampled_rows(path, reader.d_vocab)
    assert (len(counts), rows.tolist()) == (50, ROWS)
    found = measure_ranges(reader, rows)
    assert (found.n_tokens, found.signed) == (9, bool(tiny.raw.cfg.gated_mlp))
    for layer in range(2):
        activation = torch.cat([tiny.inputs(tiny.module(layer, tiny.parts.down), row)[0, 1:] for row in ROWS])
        assert found.most[layer].tolist() == pytest.approx(activation.amax(0).tolist(), abs=1e-5)
        assert found.least[layer].tolist() == pytest.approx(activation.amin(0).tolist(), abs=1e-5)


def test_ranges_of_several_batches_are_put_together(tiny_gpt2, monkeypatch):
    reader = RangeReader(tiny_gpt2.raw)
    whole = measure_ranges(reader, np.array(ROWS))
    monkeypatch.setattr("an_neuron.corpus.corpus_pass.rows_per_batch", lambda *_: 1)
    parts = measure_ranges(reader, np.array(ROWS))
    np.testing.assert_allclose(parts.most, whole.most, atol=1e-5)
    np.testing.assert_allclose(parts.least, whole.least, atol=1e-5)


def test_a_neuron_that_never_fires_is_found(micro):
    """Neuron 0 is 1 at token 1, neuron 1 at token 2, and neuron 2 nowhere."""
    found = measure_ranges(RangeReader(micro.raw), np.array([[1, 2, 3], [2, 3, 4]]))
    assert found.most.tolist() == [pytest.approx([0, 1, 0], abs=1e-6)]
    assert [found.fires(0, index) for index in range(3)] == [False, True, False]
