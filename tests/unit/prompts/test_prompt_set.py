import pytest

from an_neuron.errors import UserError
from an_neuron.prompts.prompt_set import WrittenPair, read_prompt_file, written_pairs

HEAD = "part,clean,corrupted\n"


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "prompts.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_pairs_are_read_with_their_parts_and_commas(written):
    path = written(HEAD + 'main,"a pear, an",b\nheld_out,c,d\n')
    expected = [WrittenPair("main", "a pear, an", "b"), WrittenPair("held_out", "c", "d")]
    assert read_prompt_file(path) == expected
    assert written_pairs({"prompts": {"file": str(path)}}) == expected


def test_a_list_is_of_main_pairs_beside_a_set():
    block = {
        "prompts": [{"clean": "a", "corrupted": "b"}],
        "prompt_set": [{"part": "held_out", "clean": "c", "corrupted": "d"}],
    }
    assert written_pairs(block) == [WrittenPair("main", "a", "b"), WrittenPair("held_out", "c", "d")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clean,corrupted\na,b\n", r"has the columns \['clean', 'corrupted'\]; it needs part, clean, corrupted"),
        (HEAD + "main,a,b\ntest,c,d\n", "line 3: the part is 'test'; it can be main, development, held_out"),
        (HEAD + "main,a,\n", "line 2: a prompt is empty"),
        (HEAD + "main,a\n", "line 2: a prompt is empty"),
        (
            HEAD + "main,I climbed, and picked,b\n",
            "line 2: there are more than three cells; put a",
        ),
        (HEAD + "main,a,\n\nx,a,b\n", r"(?s)line 2: a prompt is empty.*line 4: the part is 'x'"),
        ("", r"has the columns None; it needs"),
        (HEAD + "held_out,a,b\n", "has no prompt pair of the part main"),
    ],
)
def test_a_mistake_is_said_with_its_line(written, text, said):
    with pytest.raises(UserError, match=said):
        read_prompt_file(written(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv cannot be read"):
        read_prompt_file(tmp_path / "none.csv")


def test_a_byte_order_mark_is_no_part_of_a_column(written):
    assert read_prompt_file(written("\ufeff" + HEAD + "main,a,b\n")) == [WrittenPair("main", "a", "b")]


@pytest.fixture
def listed(tmp_path):
    def write(*lines):
        path = tmp_path / "prompts.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        return path

    return write


MAIN_LINE = '{"part": "main", "clean": "a \\"pear\\", an", "corrupted": "b"}'


def test_jsonl_holds_what_a_csv_holds(listed, written):
    path = listed(MAIN_LINE, "", '{"corrupted": "d\u2028", "clean": "ç", "part": "held_out"}', "")
    expected = [WrittenPair("main", 'a "pear", an', "b"), WrittenPair("held_out", "ç", "d\u2028")]
    assert read_prompt_file(path) == expected
    assert read_prompt_file(written(HEAD + 'main,"a ""pear"", an",b\nheld_out,ç,d\u2028\n')) == expected
    assert written_pairs({"prompts": {"file": str(path)}}) == expected


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"part": "main", "clean": "a", "corr', "jsonl, line 2 is no JSON object: Unterminated string"),
        (
            '{"part": "main", "clean": "a", "corrupted": "b", "clean": "c"}',
            "line 2 is no JSON object: a key stands twi",
        ),
        ("[" * 100_000, "line 2 is no JSON object: maximum recursion depth"),
        ('["main", "a", "b"]', r"line 2: \['main', 'a', 'b'\] is no object; write \{\"part\": \"main\""),
        ('{"part": "main", "clean": "a"}', "line 2: the key 'corrupted' is missing; write"),
        ('{"part": "main", "clean": "a", "corupted": "b"}', "(?s)key 'corupted' is unknown; known keys: part.*missing"),
        ('{"part": "test", "clean": "a", "corrupted": "b"}', "line 2: the part is 'test'; it can be main, development"),
        ('{"part": ["main"], "clean": "a", "corrupted": "b"}', r"line 2: the part is \['main'\]; it can be main"),
        ('{"part": "main", "clean": "a", "corrupted": ""}', "line 2: a prompt is empty"),
        ('{"part": "main", "clean": null, "corrupted": "b"}', "line 2: a prompt is empty"),
        (
            '{"part": "main", "clean": 31.890, "corrupted": "b"}',
            "line 2: the prompt 31.89 is no text; put it in double",
        ),
        ('{"part": "main", "clean": "a", "corrupted": "\\ud83c"}', "line 2: the prompt '.ud83c' holds half of a char"),
    ],
)
def test_a_mistake_in_jsonl_is_said_with_its_line(listed, line, said):
    with pytest.raises(UserError, match=said):
        read_prompt_file(listed(MAIN_LINE, line))


def test_jsonl_without_a_main_pair_or_in_another_encoding_is_refused(listed):
    with pytest.raises(UserError, match=r"prompts\.jsonl has no prompt pair of the part main"):
        read_prompt_file(listed(""))
    path = listed(MAIN_LINE)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"prompts\.jsonl cannot be read as JSONL in UTF-8"):
        read_prompt_file(path)
