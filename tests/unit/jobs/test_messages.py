from pathlib import Path

import pytest

from an_neuron.jobs.messages import messages, page

PAGE = Path(__file__).resolve().parents[3] / "docs" / "messages.md"
MODULE = """
REMEDY = "plant it"

def check(tree, path, layers):
    if tree.dry:
        raise UserError(f"The {tree.kind!r} of {', '.join(layers)} is dry at {n - 1:.2f} m; {REMEDY}.", "wet: 1")
    if not tree:
        raise DamagedFileError(path, "holds no tree")
    raise FullDiskError(f"The orchard {Path(path).name} is full: {len(layers) / 1e6} trees.")

def broken():
    reason = "a storm"
    if calm:
        raise unusable("pear", what="is rotten")
    if worse:
        raise unusable("plum", reason)
    raise ValueError(f"{reason} is a bug, which no user mends")

def unusable(tree, what):
    return UserError(f"The tree {tree} {what} by {type(tree).__name__}.")

def tree_mistakes(tree):
    yield f"trees[{number}]: {text[:9]} | is no tree."
    yield tree
    raise UserError(tree)
"""


def test_the_page_of_messages_is_that_of_the_code():
    again = "run python -m an_neuron.jobs.messages > docs/messages.md"
    assert PAGE.read_text(encoding="utf-8") == page(), again


def test_messages_are_found_with_remedies_and_with_names_for_what_is_filled_in():
    assert messages(MODULE, {"REMEDY": "of another module"}) == [
        "The {kind} of {layers} is dry at {n - 1} m; plant it. In config.yaml: `wet: 1`.",
        "{path} holds no tree. Delete it and run snakemake again.",
        "The orchard {name} is full: {layers} trees. Then run snakemake again.",
        "The tree pear is rotten by pear.",
        "The tree plum {what} by plum.",
        "trees[{number}]: {text} | is no tree.",
    ]


def test_a_constant_of_another_module_is_filled_in():
    source = "def check():\n    raise UserError(f'No. {REMEDY}')\n"
    assert messages(source, {"REMEDY": "Plant it."}) == ["No. Plant it."]
    assert messages(source) == ["No. {REMEDY}"]


@pytest.mark.parametrize(
    "line",
    [
        "| `The disk is full: {path} cannot be written; make room. Then run snakemake again.` | `atomic` |",
        "| `{path} is damaged: its content is not what was written. Delete it and run snakemake again.` | `hdf5` |",
        "| `Clean and corrupted prompt are the same prompt, so there is nothing to patch.` | `pairs` |",
        "| `foil: answer and foil are both {study}; choose a foil that the model could say instead.` | `checks` |",
    ],
)
def test_the_page_lists_what_is_known_to_be_said(line):
    assert line in PAGE.read_text(encoding="utf-8").splitlines()
