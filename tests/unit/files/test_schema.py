import os

import numpy as np
import pandas as pd
import pytest

from an_neuron.errors import UserError
from an_neuron.files import atomic, hdf5
from an_neuron.files.schema import Field, Schema

TABLE = Schema(
    "table.h5",
    "a table",
    {
        "score": Field("row pos", "float32", "", ""),
        "id": Field("row", "int32", "", ""),
        "more": Field("row", "int32", "", "", optional=True),
    },
    {"layer": "a layer"},
)
VALUES = {"score": np.zeros((2, 3)), "id": [1, 2]}


@pytest.mark.parametrize(
    ("values", "attributes", "message"),
    [
        ({"id": [1, 2]}, {"layer": 1}, "table.h5 lacks score"),
        ({**VALUES, "gone": [1, 2]}, {"layer": 1}, "has no field 'gone'"),
        ({**VALUES, "id": [[1], [2]]}, {"layer": 1}, "id has 2 axes"),
        ({**VALUES, "id": [1, 2, 3]}, {"layer": 1}, "axis row has 2 places, but 3 in id"),
        ({**VALUES, "id": [1.5, 2]}, {"layer": 1}, "does not fit into int32"),
        (VALUES, {}, "lacks the attributes layer"),
    ],
)
def test_what_is_not_as_declared_is_refused_and_leaves_nothing(tmp_path, values, attributes, message):
    with pytest.raises(ValueError, match=message):
        hdf5.write(tmp_path / "table.h5", TABLE, values, attributes)
    assert not list(tmp_path.iterdir())


def test_an_optional_field_may_be_there_or_not(tmp_path):
    for values in (VALUES, {**VALUES, "more": [3, 4]}):
        hdf5.write(tmp_path / "table.h5", TABLE, values, {"layer": 1})
        assert set(hdf5.read(tmp_path / "table.h5").datasets) == set(values)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="score is declared as 'double'"):
        Schema("table.h5", "", {"score": Field("row", "double", "", "")})


def test_a_joined_file_names_its_parts_relative_to_its_folder(tmp_path):
    parts = Schema("part.h5", "a part", {"id": Field("row", "int32", "", "")})
    for number in (0, 1):
        hdf5.write(tmp_path / "old" / "parts" / f"{number}.h5", parts, {"id": [number, 5]}, {})
    with (
        hdf5.opened(tmp_path / "old/parts/0.h5") as one,
        hdf5.opened(tmp_path / "old/parts/1.h5") as other,
        hdf5.create(tmp_path / "old" / "joined.h5", parts, {}) as writer,
    ):
        writer.join("id", [one["id"], other["id"]])
    (tmp_path / "old").rename(tmp_path / "new")
    assert hdf5.read(tmp_path / "new" / "joined.h5")["id"].tolist() == [0, 5, 1, 5]


def test_a_file_that_changes_is_verified_again(tmp_path):
    path = tmp_path / "table.h5"
    hdf5.write(path, TABLE, VALUES, {"layer": 1})
    hdf5.read(path)
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    with pytest.raises(UserError, match="is damaged"):
        hdf5.read(path)


@pytest.mark.parametrize(
    ("write", "value"),
    [
        (atomic.write_text, "\ud800"),
        (atomic.write_json, object()),
        (atomic.write_csv, pd.DataFrame({"text": ["\ud800"]}, dtype=object)),
    ],
)
def test_a_text_that_cannot_be_written_leaves_the_old_one(tmp_path, write, value):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises((UnicodeEncodeError, TypeError)):
        write(path, value)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["old"]
