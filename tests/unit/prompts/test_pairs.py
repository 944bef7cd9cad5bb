from dataclasses import replace

import numpy as np
import pytest
from conftest import BOS
from tokenizers import Tokenizer as FastTokenizer
from tokenizers import models, normalizers

from an_neuron.errors import UserError
from an_neuron.files import hdf5
from an_neuron.model.folder import Shape
from an_neuron.model.tokenizer import Tokenizer, single_token
from an_neuron.prompts.pairs import PromptPair, Prompts
from an_neuron.prompts.tokenizing import tokenize_further, tokenize_prompts
from an_neuron.prompts.tokens import read_prompts, right_aligned, token_attributes, write_prompts

STUDY = {
    "prompts": [{"clean": "a pear", "corrupted": "a plum"}, {"clean": "b", "corrupted": "c"}],
    "answer": " an",
    "foil": " a",
}
PROMPTS = Prompts(
    prompt_pairs=[PromptPair([0, 1, 27, 16, 5, 1, 18], [0, 1, 27, 16, 12, 21, 13]), PromptPair([0, 2], [0, 3])],
    answer=31,
    foil=30,
)
SHAPE = Shape(n_layers=2, d_model=16, d_mlp=24, n_ctx=32, d_vocab=50)


@pytest.fixture
def lowercasing(tiny_gpt2, tmp_path):
    """The tokenizer that takes upper case for lower case."""
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_gpt2.folder / name).read_bytes())
    fast = FastTokenizer.from_file(str(tiny_gpt2.folder / "tokenizer.json"))
    fast.normalizer = normalizers.Lowercase()
    fast.save(str(tmp_path / "tokenizer.json"))
    return Tokenizer(tmp_path)


@pytest.fixture
def tokenizer(tiny_gpt2):
    return tiny_gpt2.tokenizer


def mistakes(tokenizer, **changed):
    with pytest.raises(UserError) as caught:
        tokenize_prompts(tokenizer, {**STUDY, **changed}, SHAPE)
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
    assert tokenize_prompts(tokenizer, STUDY, SHAPE) == PROMPTS
    assert tokenize_further(tokenizer, ["the an"], SHAPE) == [[0, 20, 8, 5, 31]]
    assert tokenize_further(tokenizer, [], SHAPE) == []


def test_all_prompts_are_those_of_the_prompt_pairs():
    first, second = PROMPTS.prompt_pairs
    assert PROMPTS.all() == [first.clean, first.corrupted, second.clean, second.corrupted]


def test_prompts_of_different_length_are_shown_as_tokens(tokenizer):
    (mistake,) = mistakes(tokenizer, prompts=[{"clean": "a lemon", "corrupted": "a apple"}])
    assert mistake.startswith("prompts[0]: the clean prompt has 8 tokens with BOS, the corrupted one 7;")
    assert mistake.endswith("Clean: a| |l|e|m|o|n  Corrupted: a| a|p|p|l|e")


def test_a_line_end_in_a_prompt_is_shown_as_an_escape(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "text", {1: "a", 2: "\n", 3: "\x85"}.get)
    (mistake,) = mistakes(tokenizer, prompts=[{"clean": "ab", "corrupted": "c"}])
    assert mistake.endswith(r"Clean: a|\n  Corrupted: \x85")


def test_a_prompt_that_is_not_corrupted_is_refused(tokenizer):
    (mistake,) = mistakes(tokenizer, prompts=[STUDY["prompts"][0], {"clean": "b", "corrupted": "b"}])
    assert mistake.startswith("prompts[1]: clean and corrupted prompt are the same;")


def test_all_mistakes_are_told_at_once(tokenizer):
    prompt_pairs = [{"clean": "b", "corrupted": "b"}, STUDY["prompts"][0], {"clean": "b", "corrupted": "bb"}]
    found = mistakes(tokenizer, answer="an", foil=" b", prompts=prompt_pairs)
    assert [line.split(":")[0] for line in found] == ["answer", "foil", "prompts[0]", "prompts[2]"]


def test_a_prompt_longer_than_the_context_is_refused(tokenizer):
    long = "b" * 32
    (mistake,) = mistakes(tokenizer, prompts=[{"clean": long, "corrupted": "c" * 32}, *STUDY["prompts"]])[:1]
    assert mistake == (
        "prompts[0]: the clean prompt has 33 tokens with BOS, more than the 32 of the model's context; shorten it."
    )
    assert tokenize_prompts(tokenizer, {**STUDY, "prompts": [{"clean": "b" * 31, "corrupted": "c" * 31}]}, SHAPE)
    with pytest.raises(UserError, match=r"^further_prompts\[1\]: the prompt has 33 tokens with BOS, more than"):
        tokenize_further(tokenizer, ["b", long], SHAPE)


def test_tokens_of_another_model_are_refused(tokenizer):
    with pytest.raises(
        UserError, match=r"^model: The tokenizer makes token 31 \(' an'\), beyond the model's vocabulary"
    ):
        tokenize_prompts(tokenizer, STUDY, replace(SHAPE, d_vocab=31))


def test_two_texts_of_one_token_are_refused(lowercasing):
    said = mistakes(lowercasing, foil=" AN")
    assert said == [
        "foil: answer ' an' and foil ' AN' are one token of this model, 31 (' an'), so their logits never differ; "
        "choose another foil."
    ]


def test_special_tokens_are_text(tokenizer):
    plain = tokenizer.encode("<|endoftext|>a")
    assert 0 not in plain
    assert plain == [5, 14, 4, 15, 6, 20, 5, 24, 20, 1]  # the letters that the tokenizer knows
    with pytest.raises(UserError, match="is not a single token"):
        single_token(tokenizer, "<|endoftext|>")
    (said,) = mistakes(tokenizer, prompts=[{"clean": "a<|endoftext|>", "corrupted": "b"}])
    assert said == (
        "prompts[0]: the clean prompt holds '<|endoftext|>', a special token of this model; prompts are plain text, "
        "so take it out."
    )


def test_a_text_of_no_token_is_refused(tokenizer):
    with pytest.raises(UserError, match=r"^'!' is no token of this model: its tokenizer drops the whole text"):
        single_token(tokenizer, "!")
    assert mistakes(tokenizer, prompts=[{"clean": "!", "corrupted": "b"}]) == [
        "prompts[0]: the clean prompt has no tokens: this model's tokenizer drops the whole text; write another."
    ]


def test_a_text_that_the_tokenizer_does_not_know_is_refused(tiny_gpt2, tmp_path):
    words = FastTokenizer(models.WordLevel({BOS: 0, "[UNK]": 1, "pear": 2}, unk_token="[UNK]"))
    words.save(str(tmp_path / "tokenizer.json"))
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny_gpt2.folder / name).read_bytes())
    assert single_token(Tokenizer(tmp_path), "pear") == 2
    with pytest.raises(UserError, match=r"^'plum' is unknown to this model: '\[UNK\]' stands for it"):
        single_token(Tokenizer(tmp_path), "plum")


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


def test_the_file_says_which_prompts_each_dataset_holds(tmp_path, tokenizer):
    written(tmp_path / "tokens.h5", PROMPTS, tokenizer)
    with hdf5.opened(tmp_path / "tokens.h5") as file:
        dims = {name: dataset.attrs["dims"] for name, dataset in file.items()}
    prompt_pairs = dict.fromkeys(("clean_id", "corrupted_id", "clean_token", "corrupted_token"), "prompt_pair pos")
    assert dims == prompt_pairs
