import pytest

from an_neuron.patching.layers import divided, named, named_layers


@pytest.mark.parametrize(
    ("layers", "parts", "expected"),
    [
        (range(30), 1, ["0-29"]),
        (range(5), 2, ["0-1", "2-4"]),
        (range(3), 3, ["0-0", "1-1", "2-2"]),
        (range(2), 8, ["0-0", "1-1"]),
        ([31], 4, ["31-31"]),
        ([7, 2, 3], 1, ["2-3", "7-7"]),  # a file holds consecutive layers alone
        ([0, 1, 2, 3, 9], 2, ["0-1", "2-3", "9-9"]),
    ],
)
def test_layers_are_divided_among_jobs(layers, parts, expected):
    ranges = divided(layers, parts)
    assert [named(part) for part in ranges] == expected
    assert [layer for part in ranges for layer in part] == sorted(layers)


def test_a_name_gives_back_its_layers():
    assert [list(named_layers(named(part))) for part in (range(9, 12), [4])] == [[9, 10, 11], [4]]
