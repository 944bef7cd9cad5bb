"""Small stories of an orchard, told from a random stream: scenes make paragraphs, paragraphs make tales."""

from collections.abc import Iterator
from random import Random

from orchard.held_out import climbs_held_out
from orchard.scenes import SCENES
from orchard.words import NARRATOR, PERSONS, Person, a, capital, noun, plural


def paragraph(rng: Random, p: Person, q: Person) -> str:
    """Tell a few scenes about two persons."""
    scenes = rng.choices([scene for scene, _ in SCENES], [weight for _, weight in SCENES], k=rng.randint(2, 5))
    told = dict.fromkeys(scenes)
    return " ".join(scene(rng, p, q) for scene in told)


def two_persons(rng: Random) -> tuple[Person, Person]:
    """Draw the two persons of a tale; one in five is told by an "I"."""
    p, q = rng.sample(PERSONS, 2)
    return (NARRATOR, q) if rng.random() < 0.2 else (p, q)


def tale(rng: Random, paragraphs: int) -> list[str]:
    """Tell a tale of so many paragraphs about the same two persons, without the trees that are held out."""
    p, q = two_persons(rng)
    told: list[str] = []
    while len(told) < paragraphs:
        new = paragraph(rng, p, q)
        if not climbs_held_out([*told, new]):
            told.append(new)
    return told


def title(rng: Random) -> str:
    """Return a chapter's title."""
    name, person = noun(rng), rng.choice(PERSONS).name
    kinds = (
        f"{person} and the {capital(name)}",
        f"The {capital(name)}",
        f"{capital(a(name))} for {person}",
        f"Where {capital(plural(name))} Grow",
    )
    return rng.choice(kinds)


def training_tales(seed: int, characters: int) -> Iterator[str]:
    """Tell tales until they have so many characters together.

    Parameters
    ----------
    seed
        Seed of the random stream, another one than the book's.
    characters
        The least number of characters.

    Yields
    ------
    str
        A tale with a line break, or an empty line, after each paragraph and heading.
    """
    rng = Random(f"orchard, training {seed}")
    told = 0
    while told < characters:
        space = "\n" if rng.random() < 0.3 else "\n\n"
        parts = tale(rng, rng.randint(1, 6))
        if rng.random() < 0.2:
            parts.insert(0, title(rng))
        text = "".join(part + space for part in parts)
        told += len(text)
        yield text
