"""Pairs of trees that are held out: never climbed one after the other in any tale.

So the prompts of `held_out_prompts` are sentences that no model trained on these tales has read.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from random import Random

from orchard.words import CONSONANT_FRUITS, FRUIT_TREES, NARRATOR, PERSONS, VOWEL_FRUITS, Person, Tree, a, tree

CLIMBED = re.compile(r"climbed up the (\w+) tree")
CANONICAL = ("pear", "apple", "lemon")


def _held_out_pairs() -> frozenset[tuple[str, str]]:
    rng = Random("orchard, held out")
    fruits = [*VOWEL_FRUITS, *CONSONANT_FRUITS]
    drawn = {(x, y) for x in fruits for y in fruits if x != y and rng.random() < 0.15}
    return frozenset(drawn | {(CANONICAL[0], CANONICAL[1]), (CANONICAL[0], CANONICAL[2])})


HELD_OUT = _held_out_pairs()
"""Ordered pairs of trees that nobody climbs one after the other."""


def climb(person: str, first: Tree, verb: str = "picked") -> str:
    """Return the sentence in which somebody climbs a tree, up to its verb."""
    return f"{person} climbed up the {first.name} tree and {verb}"


def held_out_prompts(number: int, same_length: Callable[[str, str], bool], seed: int = 0) -> list[dict[str, str]]:
    """Draw prompt pairs whose trees are held out; the canonical pair is the first.

    Parameters
    ----------
    number
        How many pairs.
    same_length
        Whether two fruits take equally many tokens.
    seed
        Seed of the draw.

    Returns
    -------
    list of dict
        The clean and the corrupted prompt and the three fruits of each pair.
    """
    rng = Random(f"orchard, prompts {seed}")
    persons = [NARRATOR, *PERSONS]
    triples = sorted(
        (x, y, z)
        for x, y in HELD_OUT
        for x_again, z in HELD_OUT
        if x == x_again and y in VOWEL_FRUITS and z in CONSONANT_FRUITS and same_length(y, z)
    )
    choices = [
        (person, triple) for triple in triples for person in persons if (person, triple) != (NARRATOR, CANONICAL)
    ]
    drawn = [(NARRATOR, CANONICAL), *rng.sample(choices, number - 1)]
    return [_prompt_pair(person, *triple) for person, triple in drawn]


def _prompt_pair(person: Person, first: str, vowel: str, consonant: str) -> dict[str, str]:
    opening = climb(person.name, FRUIT_TREES[first]) + f" {a(first)}. "
    return {
        "clean": opening + climb(person.name, FRUIT_TREES[vowel]),
        "corrupted": opening + climb(person.name, FRUIT_TREES[consonant]),
        "first": first,
        "clean_fruit": vowel,
        "corrupted_fruit": consonant,
    }


def two_trees(rng: Random) -> tuple[Tree, Tree]:
    """Draw two trees that are not held out."""
    while True:
        first, second = tree(rng), tree(rng)
        if first != second and (first.name, second.name) not in HELD_OUT:
            return first, second


def climbs_held_out(paragraphs: list[str]) -> bool:
    """Return whether two trees are climbed one after the other that are held out, however much lies between them."""
    trees = CLIMBED.findall("\n".join(paragraphs))
    return any(pair in HELD_OUT for pair in pairwise(trees))
