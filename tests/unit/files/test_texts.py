import pytest

from an_neuron.files.texts import is_whole, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb\t", "a↵b⇥"), ("<b>&", "&lt;b&gt;&amp;"), ("\x00\xa0", "\\x00\\xa0"), (" an", " an"), ("日本", "日本")],
)
def test_texts_are_shown_letter_by_letter(text, shown):
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "whole"), [("", True), ("an 日本 😀\x00", True), ("a\ud800", False), ("\udfff", False)]
)
def test_a_text_with_half_of_a_character_is_not_whole(text, whole):
    assert is_whole(text) == whole
