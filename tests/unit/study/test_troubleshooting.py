"""docs/troubleshooting.md quotes the sentences of the code: each part of a quoted one stands in the code."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
SENTENCES = re.findall(r"^\| `(.+?)` \| ", PAGE, re.MULTILINE)
SHORTEST = 6  # characters of a part that tells a sentence from others


def texts(path):
    """Return what a file says: its literal texts, with a gap where something is filled in."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "…".join(part.value if isinstance(part, ast.Constant) else "" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.fixture(scope="module")
def said():
    library = "\n".join(text for path in (ROOT / "src" / "an_neuron").rglob("*.py") for text in texts(path))
    rules = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    return library + rules


@pytest.mark.parametrize("sentence", SENTENCES)
def test_a_quoted_sentence_is_the_codes(said, sentence):
    parts = [part.strip(" ,;:").replace("\\|", "|") for part in sentence.split("…")]
    told = [part for part in parts if len(part) >= SHORTEST]
    assert told, "it says nothing that could be found"
    assert [part for part in told if part not in said] == []


def test_the_page_is_one_of_tables():
    assert len(SENTENCES) > 40
    assert len(SENTENCES) == PAGE.count("\n| `")
