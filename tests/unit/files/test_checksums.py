import hashlib

import pytest

from an_neuron.errors import DamagedFileError
from an_neuron.files.checksums import write_checksums


def test_checksums_are_sorted_lines_of_the_form_that_sha256sum_reads(tmp_path):
    for name in ("b.csv", "figures/a.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
    write_checksums(tmp_path / "checksums.sha256", [tmp_path / "figures/a.png", str(tmp_path / "b.csv")])
    expected = [f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n" for name in ("b.csv", "figures/a.png")]
    assert (tmp_path / "checksums.sha256").read_text() == "".join(expected)


def test_a_result_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DamagedFileError, match=r"lost\.csv cannot be read \(No such file or directory\)"):
        write_checksums(tmp_path / "checksums.sha256", [tmp_path / "lost.csv"])
    assert list(tmp_path.iterdir()) == []
