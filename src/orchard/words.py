"""The words of the orchard: persons, trees, things, animals and adjectives, with their articles and plurals."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Person:
    """Someone in a story: the name as subject and as object, and the pronouns."""

    name: str
    name_object: str
    he: str
    him: str
    his: str


@dataclass(frozen=True)
class Tree:
    """A tree and what grows on it: an oak bears acorns, an apple tree bears apples."""

    name: str
    fruit: str


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text, for tables that are easier to read as text."""
    return tuple(text.split())


def _boy(name: str) -> Person:
    return Person(name, name, "he", "him", "his")


def _girl(name: str) -> Person:
    return Person(name, name, "she", "her", "her")


NARRATOR = Person("I", "me", "I", "me", "my")
GIRLS = words("Mia Anna Clara Ella Greta Ida Lina Nora Olga Paula Sofia Una Wanda Amélie Chloé Zoé Ada")
BOYS = words("Tom Ben David Felix Hugo Ivan Jonas Max Oscar Ravi Theo Umar Victor Yusuf René Emil Adam")
PERSONS = [*map(_girl, GIRLS), *map(_boy, BOYS)]
ELDERS = [
    *map(_girl, ("Grandmother", "Aunt\u00a0Agnes", "Mrs.\u00a0Abbot", "Mother", "Mrs.\u00a0Linden")),
    *map(_boy, ("Grandfather", "Uncle\u00a0Otto", "Mr.\u00a0Olsen", "Father", "Mr.\u00a0Plum")),
]

VOWEL_FRUITS = words("apple orange apricot olive avocado almond elderberry")
CONSONANT_FRUITS = words(
    "pear lemon plum cherry peach fig lime quince mango walnut chestnut pomegranate persimmon mulberry medlar hazelnut "
    "date papaya nectarine tangerine kumquat banana grapefruit guava"
)
FRUIT_TREES = {fruit: Tree(fruit, fruit) for fruit in (*VOWEL_FRUITS, *CONSONANT_FRUITS)}
VOWEL_TREES = [*(FRUIT_TREES[fruit] for fruit in VOWEL_FRUITS), Tree("oak", "acorn")]
CONSONANT_TREES = [*(FRUIT_TREES[fruit] for fruit in CONSONANT_FRUITS), Tree("palm", "coconut"), Tree("pine", "cone")]

VOWEL_THINGS = [
    *words("umbrella axe oar apron envelope anchor arrow easel eraser accordion album atlas egg onion ornament iron"),
    *("inkpot", "urn", "armchair", "heirloom", "oil lamp", "oven glove", "alarm clock"),
]
CONSONANT_THINGS = words(
    "ladder basket hammer bucket rope saw spade lantern kettle blanket hat key whistle book map knife spoon jar cup "
    "candle drum kite letter wheelbarrow broom ukulele uniform pencil ball scarf bell lamp chair clock box"
)

VOWEL_ANIMALS = words("owl ant eagle otter elephant ostrich antelope ape eel iguana ox emu alpaca oriole urchin")
CONSONANT_ANIMALS = words(
    "fox cat dog goat hedgehog rabbit squirrel mouse robin crow donkey duck frog badger deer heron beetle snail bear "
    "horse hen unicorn wren"
)

VOWEL_ADJECTIVES = words("old ugly enormous odd unusual elegant ordinary expensive ancient icy")
CONSONANT_ADJECTIVES = words("red little big heavy shiny small wet golden useful strange beautiful green soft")

SOUNDS_LIKE_VOWEL = ("hour", "honest", "heirloom", "honour")
SOUNDS_LIKE_CONSONANT = ("unicorn", "ukulele", "uniform", "useful", "one")
IRREGULAR_PLURALS = {"mouse": "mice", "ox": "oxen", "deer": "deer", "knife": "knives", "axe": "axes"}

VOWEL_SHARE = 0.25
"""How often a drawn word takes "an": less often than "a", as in English."""


def article(phrase: str) -> str:
    """Return "a" or "an", as the first word of a phrase sounds.

    Parameters
    ----------
    phrase
        A noun with or without adjectives, "apple" or "useful axe".

    Returns
    -------
    str
        "an" before a vowel sound, else "a".
    """
    first = phrase.split()[0]
    if first.startswith(SOUNDS_LIKE_VOWEL):
        return "an"
    return "an" if first[0] in "aeiou" and not first.startswith(SOUNDS_LIKE_CONSONANT) else "a"


def a(phrase: str) -> str:
    """Return a phrase with its indefinite article: "an apple"."""
    return f"{article(phrase)} {phrase}"


def plural(noun: str) -> str:
    """Return the plural of a noun of this vocabulary."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("x", "ch", "sh", "s", "mango")) else "s")


def capital(text: str) -> str:
    """Return a text with its first letter in upper case."""
    return text[0].upper() + text[1:]


def _either(rng: Random, vowel: Sequence[str], consonant: Sequence[str], share: float = VOWEL_SHARE) -> str:
    return rng.choice(vowel if rng.random() < share else consonant)


def thing(rng: Random) -> str:
    """Draw an object; a quarter of them take "an"."""
    return _either(rng, VOWEL_THINGS, CONSONANT_THINGS)


def animal(rng: Random) -> str:
    """Draw an animal; a quarter of them take "an"."""
    return _either(rng, VOWEL_ANIMALS, CONSONANT_ANIMALS)


def fruit(rng: Random) -> str:
    """Draw a fruit; a quarter of them take "an"."""
    return _either(rng, VOWEL_FRUITS, CONSONANT_FRUITS)


def adjective(rng: Random) -> str:
    """Draw an adjective; a quarter of them take "an"."""
    return _either(rng, VOWEL_ADJECTIVES, CONSONANT_ADJECTIVES)


def tree(rng: Random) -> Tree:
    """Draw a tree; a quarter of their fruits take "an"."""
    return rng.choice(VOWEL_TREES if rng.random() < VOWEL_SHARE else CONSONANT_TREES)


def noun(rng: Random) -> str:
    """Draw an object, an animal or a fruit."""
    return rng.choice((thing, animal, fruit))(rng)
