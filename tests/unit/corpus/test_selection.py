import pytest

from an_neuron.corpus.associations import Association
from an_neuron.corpus.selection import named_associations
from an_neuron.errors import UserError


def test_the_studied_and_the_listed_associations_are_named(tiny_gpt2):
    listed = [{"tokens": [" the"], "layer": 0, "index": 3}, {"tokens": ["b", " the"], "layer": 1, "index": 2}]
    associations = named_associations(tiny_gpt2.tokenizer, " an", {"layer": 1, "index": 7, "recovery": 0.5}, listed)
    ids = [tiny_gpt2.tokenizer.encode(text)[0] for text in (" an", " the", "b")]
    assert associations == [
        Association(" an", ids[0], 1, 7, "studied"),
        Association(" the", ids[1], 0, 3, "listed"),
        Association("b/ the", ids[2], 1, 2, "listed", (ids[1],)),
    ]
    with pytest.raises(UserError, match="'abc' is not a single token"):
        named_associations(tiny_gpt2.tokenizer, "abc", {"layer": 0, "index": 0}, [])
