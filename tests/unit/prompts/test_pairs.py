import numpy as np
import pytest

from an_neuron.errors import UserError
from an_neuron.files import hdf5
from an_neuron.model.tokenizer import single_token
from an_neuron.prompts.pairs import PromptPair, Prompts
from an_neuron.prompts.tokenizing import tokenize_prompts
from an_neuron.prompts.tokens import read_prompts, right_aligned, token_attributes, write_prompts

STUDY = {
    "prompts": [{"clean": "a pear", "corrupted": "a plum"}, {"clean": "b", "corrupted": "c"}],
    "further_prompts": ["the an"],
    "answer": " an",
    "foil": " a",
}
PROMPTS = Prompts(
    prompt_pairs=[PromptPair([0, 1, 27, 16, 5, 1, 18], [0, 1, 27, 16, 12, 21, 13]), PromptPair([0, 2], [0, 3])],
    further=[[0, 20, 8, 5, 31]],
    answer=31,
    foil=30,
)


@pytest.fixture
def tokenizer(tiny_gpt2):
    return tiny_gpt2.tokenizer


def mistakes(tokenizer, **changed):
    with pytest.raises(UserError) as caught:
        tokenize_prompts(tokenizer, {**STUDY, **changed})
    return str(caught.value).splitlines()


def written(path, prompts, tokenizer):
    write_prompts(path, prompts, tokenizer, {"study": "letters"})
    return read_prompts(path)


def test_one_token_is_its_id(tokenizer):
    assert single_token(tokenizer, " an") == 31


def test_several_tokens_are_shown_with_the_usual_cause(tokenizer):
    with pytest.raises(UserError) as caught:
        single_token(tokenizer, "an")
    assert str(caught.value) == (
        "'an' is not a single token of this model but 2: 'a' + 'n'. "
        'A missing leading space is the usual cause: write " an".'
    )


def test_a_text_that_begins_with_a_space_gets_no_hint(tokenizer):
    with pytest.raises(UserError, match=r"4: ' an' \+ 'd' \+ '\.' \+ '\.'\.$"):
        single_token(tokenizer, " and..")


def test_prompts_are_tokenized_with_bos(tokenizer):
    assert tokenize_prompts(tokenizer, STUDY) == PROMPTS
    alone = {key: value for key, value in STUDY.items() if key != "further_prompts"}
    assert tokenize_prompts(tokenizer, alone).further == []


def test_all_prompts_are_prompt_pairs_then_further_ones():
    assert PROMPTS.all() == [
        *(
            PROMPTS.prompt_pairs[0].clean,
            PROMPTS.prompt_pairs[0].corrupted,
            PROMPTS.prompt_pairs[1].clean,
            PROMPTS.prompt_pairs[1].corrupted,
        ),
        PROMPTS.further[0],
    ]


def test_prompts_of_different_length_are_shown_as_tokens(tokenizer):
    (mistake,) = mistakes(tokenizer, prompts=[{"clean": "a lemon", "corrupted": "a apple"}])
    assert mistake.startswith("prompts[0]: the clean prompt has 8 tokens with BOS, the corrupted one 7;")
    assert mistake.endswith("Clean: a| |l|e|m|o|n  Corrupted: a| a|p|p|l|e")


def test_a_prompt_that_is_not_corrupted_is_refused(tokenizer):
    (mistake,) = mistakes(tokenizer, prompts=[STUDY["prompts"][0], {"clean": "b", "corrupted": "b"}])
    assert mistake.startswith("prompts[1]: clean and corrupted prompt are the same;")


def test_all_mistakes_are_told_at_once(tokenizer):
    prompt_pairs = [{"clean": "b", "corrupted": "b"}, STUDY["prompts"][0], {"clean": "b", "corrupted": "bb"}]
    found = mistakes(tokenizer, answer="an", foil=" b", prompts=prompt_pairs)
    assert [line.split(":")[0] for line in found] == ["answer", "foil", "prompts[0]", "prompts[2]"]


def test_rows_end_together():
    aligned = right_aligned([[1, 2, 3], [4], []], -1, np.int32)
    assert aligned.tolist() == [[1, 2, 3], [-1, -1, 4], [-1, -1, -1]]
    assert right_aligned([], -1, np.int32).shape == (0, 0)


def test_prompts_of_different_length_come_back_as_they_were(tmp_path, tokenizer):
    found, table = written(tmp_path / "tokens.h5", PROMPTS, tokenizer)
    assert found == PROMPTS
    assert table["clean_id"].tolist() == [PROMPTS.prompt_pairs[0].clean, [-1, -1, -1, -1, -1, 0, 2]]
    assert table["corrupted_token"].tolist()[1] == ["", "", "", "", "", "<|endoftext|>", "c"]
    assert token_attributes(table) == {"answer": " an", "foil": " a", "answer_id": 31, "foil_id": 30}
    assert table.attributes["study"] == "letters"


def test_prompts_without_further_ones_come_back(tmp_path, tokenizer):
    alone = Prompts(PROMPTS.prompt_pairs, [], PROMPTS.answer, PROMPTS.foil)
    assert written(tmp_path / "tokens.h5", alone, tokenizer)[0] == alone


def test_the_file_says_which_prompts_each_dataset_holds(tmp_path, tokenizer):
    written(tmp_path / "tokens.h5", PROMPTS, tokenizer)
    with hdf5.opened(tmp_path / "tokens.h5") as file:
        dims = {name: dataset.attrs["dims"] for name, dataset in file.items()}
    prompt_pairs = dict.fromkeys(("clean_id", "corrupted_id", "clean_token", "corrupted_token"), "prompt_pair pos")
    assert dims == {**prompt_pairs, "further_id": "prompt further_pos"}
