"""The notebook's figures, at its size and with its titles; `test_look` is about all others."""

import pytest

from an_neuron.files.look import looking


@pytest.fixture(autouse=True)
def _as_in_the_notebook():
    with looking(width=1048, height=512, titles="notebook"):
        yield
