import numpy as np
import pytest

from an_neuron.corpus.associations import Association
from an_neuron.corpus.selection import exclusive_associations, named_associations
from an_neuron.errors import UserError
from an_neuron.files.hdf5 import Table


def test_the_studied_and_the_listed_associations_are_named(tiny_gpt2):
    listed = [{"token": " the", "layer": 0, "index": 3}, {"token": "b", "layer": 1, "index": 2}]
    associations = named_associations(tiny_gpt2.tokenizer, " an", {"layer": 1, "index": 7, "recovery": 0.5}, listed)
    ids = [tiny_gpt2.tokenizer.encode(text)[0] for text in (" an", " the", "b")]
    assert associations == [
        Association(" an", ids[0], 1, 7, "studied"),
        Association(" the", ids[1], 0, 3, "listed"),
        Association("b", ids[2], 1, 2, "listed"),
    ]
    with pytest.raises(UserError, match="'abc' is not a single token"):
        named_associations(tiny_gpt2.tokenizer, "abc", {"layer": 0, "index": 0}, [])


def test_exclusive_associations_have_their_tokens_text(tmp_path):
    # Token 1 and neuron 0.0 are mutually best; token 0's best neuron has a better token.
    best = {"value": [[4.0, 1.0], [9.0, 1.0]], "layer": [[0, 0], [0, 0]], "index": [[0, 1], [0, 1]]}
    neurons = {name: np.array(values) for name, values in best.items()}
    neurons["token"] = np.array([" a", " an"], dtype=object)
    tokens = {"value": np.array([[[9.0, 4.0], [1.0, 1.0]]]), "token": np.array([[[1, 0], [0, 1]]])}
    tables = Table(tmp_path / "top_neurons.h5", neurons, {}), Table(tmp_path / "top_tokens.h5", tokens, {})
    assert exclusive_associations(*tables, 5) == [Association(" an", 1, 0, 0, "exclusive")]
    assert exclusive_associations(*tables, 0) == []
