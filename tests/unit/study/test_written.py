import pytest

from an_neuron.errors import UserError
from an_neuron.study.written import check_written


@pytest.fixture
def refused(tmp_path):
    def check(content):
        path = tmp_path / "config.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        with pytest.raises(UserError) as caught:
            check_written(path)
        return str(caught.value).removeprefix(f"{path} ")

    return check


def test_a_file_that_is_not_there_is_no_mistake_here(tmp_path):
    check_written(tmp_path / "config.yaml")


def test_keys_that_stand_twice_are_named_all_at_once(refused):
    text = "device: cpu\nstudies:\n  a:\n    top: 1\n    top: 2\n  b: [{c: 1, c: 2}]\ndevice: auto\n"
    assert refused(text) == (
        "has keys that stand twice; keep one of each:\n"
        "  - studies.a.top: stands in line 4 and in line 5.\n"
        "  - studies.b[0].c: stands in line 6 and in line 6.\n"
        "  - device: stands in line 1 and in line 7."
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "holds no keys; take the shipped"),
        ("[1, 2]", "holds no keys; take the shipped"),
        ("text", "holds no keys; take the shipped"),
        ("{}", "holds no keys; take the shipped"),
        ("a: [1\nb: 2\n", "is no YAML: line 2, column 2: "),
        ("a: 1\n\tb: 2\n", "is no YAML: line 2, column 1: found character '\\t'"),
        ("a: *b\n", "is no YAML: line 1, column 4: found undefined alias"),
        ("a: !!python/name:os.system\n", "is no YAML: line 1, column 4: could not determine a constructor"),
        ("a: 1" + "0" * 5000, "is no YAML: Exceeds the limit"),
        ("a: 2020-13-45\n", "is no YAML: month must be in 1..12"),
        ("[" * 3000, "is no YAML: "),
        (b"a: \xff\n", "is not in UTF-8 ("),
        ("pathvars: 3\n", "has the key pathvars, by which Snakemake moves results; take it out."),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_place(refused, content, said):
    found = refused(content)
    assert found.startswith(said)
    assert len(found.splitlines()) == 1


def test_json_may_be_indented_by_tabs(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text('{\n\t"studies": {"a": 1}\n}\n')
    check_written(path)
