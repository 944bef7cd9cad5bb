import pytest

from an_neuron.files.texts import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a\nb\t", "a↵b⇥"), ("<b>&", "&lt;b&gt;&amp;"), ("\x00\xa0", "\\x00\\xa0"), (" an", " an"), ("日本", "日本")],
)
def test_texts_are_shown_letter_by_letter(text, shown):
    assert visible(text) == shown
