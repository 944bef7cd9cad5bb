"""The scenes of the orchard's tales, each told of two persons from a random stream."""

from collections.abc import Callable
from random import Random

from orchard.held_out import climb, two_trees
from orchard.sayings import CONTAINERS, NEEDS, NUMBERS, PLACES, RIDDLES, TIMES, TRAITS, WEATHERS, WHEN
from orchard.words import (
    ELDERS,
    NARRATOR,
    Person,
    a,
    adjective,
    animal,
    capital,
    fruit,
    noun,
    plural,
    thing,
    tree,
)

Scene = Callable[[Random, Person, Person], str]


def _he(rng: Random, person: Person) -> str:
    return person.name if rng.random() < 0.4 else capital(person.he)


def _says(person: Person, verb: str = "said") -> str:
    """Return "said Mia", but "I said"."""
    return f"{person.name} {verb}" if person is NARRATOR else f"{verb} {person.name}"


def _two(rng: Random, draw: Callable[[Random], str]) -> tuple[str, str]:
    """Draw two words that differ."""
    first = second = draw(rng)
    while second == first:
        second = draw(rng)
    return first, second


def _some(rng: Random, name: str) -> str:
    """Return a fruit in one of the ways that need no "a" and no "an"."""
    ways = (f"{rng.choice(NUMBERS)} {plural(name)}", f"some {plural(name)}", f"the last {name}", f"the ripest {name}")
    return rng.choice(ways)


def _one(rng: Random, name: str, share: float = 0.9) -> str:
    return a(name) if rng.random() < share else _some(rng, name)


def _perhaps_adjective(rng: Random, name: str, share: float = 0.5) -> str:
    return a(f"{adjective(rng)} {name}") if rng.random() < share else a(name)


def climb_twice(rng: Random, p: Person, q: Person) -> str:
    """Climb two trees, one after the other: the form of the prompts."""
    first, second = two_trees(rng)
    verb = rng.choice(("picked", "picked", "picked", "ate", "dropped", "found"))
    again = rng.choice((p.name, p.name, capital(p.he), q.name, f"Then {p.he}", f"Then {q.name}"))
    one = f"{climb(p.name, first, verb)} {_one(rng, first.fruit)}."
    return f"{one} {climb(again, second, verb)} {_one(rng, second.fruit)}."


def climb_once(rng: Random, p: Person, q: Person) -> str:
    """Climb one tree, and tell what happened to its fruit."""
    grown = tree(rng)
    verb, end = rng.choice((("picked", "ate it"), ("found", "gave it away"), ("took", "hid it"), ("ate", "came down")))
    return f"{climb(_he(rng, p), grown, verb)} {_one(rng, grown.fruit)}, and {p.he} {end} {rng.choice(WHEN)}."


def under_the_tree(rng: Random, p: Person, q: Person) -> str:
    """Tell what lies under a tree: its fruit."""
    grown = tree(rng)
    verb = rng.choice(("found", "picked up", "stepped on", "saw"))
    return f"Under the {grown.name} tree {p.he} {verb} {_one(rng, grown.fruit)}, and {q.name} {verb} another."


def falling(rng: Random, p: Person, q: Person) -> str:
    """Shake a tree."""
    grown = tree(rng)
    where = rng.choice((f"on {p.his} head", "into the grass", f"at {q.name}\u2019s feet"))
    return f"{_he(rng, p)} shook the {grown.name} tree until {a(grown.fruit)} fell {where}."


def full_of(rng: Random, p: Person, q: Person) -> str:
    """Go from the plural to the singular."""
    name = fruit(rng)
    box = rng.choice(CONTAINERS)
    verb = rng.choice(("took", "ate", "chose", "dropped", "peeled"))
    return f"The {box} was full of {plural(name)}. {_he(rng, p)} {verb} {_one(rng, name)} and left the others."


def loved(rng: Random, p: Person, q: Person) -> str:
    """Love a fruit and eat one every day."""
    name = fruit(rng)
    meal = rng.choice(("for breakfast", "with bread", "before school", "after supper", "in bed"))
    when = rng.choice(("morning", "evening", "day"))
    return f"{_he(rng, p)} loved {plural(name)}. Every {when} {p.he} ate {a(name)} {meal}."


def where_is(rng: Random, p: Person, q: Person) -> str:
    """Ask for a thing, answer and hand it over."""
    name = thing(rng)
    verb = rng.choice((f"handed {p.him}", f"gave {p.him}", "came back with", f"brought {p.him}", "found"))
    answers = ("Here it is", "In the shed", "Behind the door", "I have it", "On the shelf", "Under the stairs")
    return (
        f"\u201cWhere is the {name}?\u201d {_says(p, 'asked')}. \u201c{rng.choice(answers)},\u201d said {q.name}, "
        f"and {q.he} {verb} {a(name)}."
    )


def is_that(rng: Random, p: Person, q: Person) -> str:
    """Guess what something is, rightly or wrongly."""
    guess, truth = _two(rng, noun)
    question = f"\u201cIs that {a(guess)}?\u201d {_says(p, 'asked')}."
    if rng.random() < 0.6:
        return f"{question} \u201cYes,\u201d said {q.name}, \u201cit is {a(guess)}.\u201d"
    return f"{question} \u201cNo,\u201d said {q.name}, \u201cit is {a(truth)}.\u201d And {a(truth)} it was."


def needed(rng: Random, p: Person, q: Person) -> str:
    """Name a task, and the thing that it takes."""
    need, name = rng.choice(NEEDS)
    verb = rng.choice((f"so {p.he} fetched", f"and {p.he} needed", f"so {q.name} lent {p.him}", f"so {p.he} asked for"))
    return f"{need}, {verb} {a(name)}."


def riddle(rng: Random, p: Person, q: Person) -> str:
    """Ask a riddle and answer it."""
    text, name = rng.choice(RIDDLES)
    return (
        f"\u201c{text}. What is it?\u201d {_says(p, 'asked')}. {q.name} thought for a moment. "
        f"\u201cIt is {a(name)},\u201d {q.he} said."
    )


def lasted(rng: Random, p: Person, q: Person) -> str:
    """Wait: so many minutes make an hour."""
    long, name = rng.choice(TIMES)
    wait = rng.choice(("waited for", "slept for", "did not speak for", "was away for", "worked for"))
    return rng.choice(
        (
            f"{_he(rng, p)} {wait} {long}. \u201cThat is {a(name)},\u201d said {q.name}.",
            f"{_he(rng, p)} {wait} half {a(rng.choice(TIMES)[1])}, and then {p.he} went home.",
            f"After {a(name)} {p.he} looked up, for {long} are {a(name)}, and {a(name)} is long.",
        )
    )


def character(rng: Random, p: Person, q: Person) -> str:
    """Tell what somebody does, and so what somebody is."""
    text, word = rng.choice(TRAITS)
    elder = rng.choice(ELDERS)
    kind = "man" if elder.he == "he" else "woman"
    return f"{elder.name} {text}. {capital(elder.he)} was {a(word)} {kind}, and {p.name} liked {elder.him}."


def described(rng: Random, p: Person, q: Person) -> str:
    """Go from "the ladder was old" to "an old ladder"."""
    name, word = thing(rng), adjective(rng)
    start = f"{_he(rng, p)} looked at the {name}. It was {word}."
    return f"{start} {_he(rng, q)} had never seen {a(f'{word} {name}')} before."


def cake(rng: Random, p: Person, q: Person) -> str:
    """Make a cake; it takes what it is called after."""
    name = fruit(rng)
    kind = rng.choice(("cake", "pie", "tart", "soup", "jam"))
    wish = f"{_he(rng, p)} wanted to make {name} {kind}, but where was {p.he} to find {a(name)}?"
    return f"{wish} {q.name} had {_one(rng, name)}."


def market(rng: Random, p: Person, q: Person) -> str:
    """Buy three things and lose one."""
    names = [thing(rng), animal(rng), fruit(rng)]
    rng.shuffle(names)
    shop = rng.choice(("Plum & Sons", "Olsen & Daughters", "Abbot & Abbot", "the market", "the fair"))
    lost = rng.choice(names)
    return (
        f"At {shop} {p.he} bought {a(names[0])}, {a(names[1])} and {a(names[2])}. "
        f"On the way home {p.he} lost the {lost}. \u201cWho has found {a(lost)}?\u201d {p.he} asked everybody."
    )


def swap(rng: Random, p: Person, q: Person) -> str:
    """Swap what two persons have."""
    mine, yours = _two(rng, fruit)
    return (
        f"{p.name} had {a(mine)}, and {q.name} had {a(yours)}. They swapped. "
        f"Now {p.he} had {a(yours)}, and {q.he} had {a(mine)}."
    )


def in_the_grass(rng: Random, p: Person, q: Person) -> str:
    """Find something unexpected."""
    name = _perhaps_adjective(rng, noun(rng))
    place = rng.choice(("In the grass", "Behind the wall", "By the pond", "In the old boat", "On the bench"))
    return f"{place} lay {name}. {_he(rng, p)} had not expected {name} there."


def heard(rng: Random, p: Person, q: Person) -> str:
    """Hear an animal first, and then see it."""
    name = animal(rng)
    verb = rng.choice(("heard", "dreamed of", "read about", "talked about"))
    place = rng.choice(PLACES)
    return f"All day {p.he} {verb} {plural(name)}, and in the evening there was {a(name)} at {place}."


def animal_eats(rng: Random, p: Person, q: Person) -> str:
    """Let an animal take a fruit from a tree."""
    grown, name = tree(rng), _perhaps_adjective(rng, animal(rng), 0.4)
    return f"{capital(name)} sat in the {grown.name} tree and ate {_one(rng, grown.fruit)}, while {p.name} watched it."


def draws(rng: Random, p: Person, q: Person) -> str:
    """Draw something that looks like something else."""
    one, other = _two(rng, noun)
    return (
        f"{p.name} drew {a(one)}, but it looked like {a(other)}. \u201cWhat a fine {other},\u201d said {q.name}. "
        f"\u201cIt is not {a(other)},\u201d {_says(p)}."
    )


def promise(rng: Random, p: Person, q: Person) -> str:
    """Speak a wish as "I"."""
    name, friend = noun(rng), rng.choice(("Please", "One day", "If you ask me", "For my birthday"))
    return (
        f"\u201c{friend}, I want {_perhaps_adjective(rng, name, 0.3)},\u201d {_says(p)}. "
        f"\u201cThen you shall have {a(name)},\u201d said {rng.choice(ELDERS).name}."
    )


def no_article(rng: Random, p: Person, q: Person) -> str:
    """Tell something without any choice of article."""
    place, other = rng.sample(PLACES, 2)
    forms = (
        f"{p.name} and {q.name} walked from {place} to {other}.",
        f"{_he(rng, p)} put everything into the {rng.choice(CONTAINERS)} and carried it to {place}.",
        f"{_he(rng, p)} picked {rng.choice(NUMBERS)} {plural(fruit(rng))} and gave them to {q.name}.",
        f"\u201cCome with me to {place},\u201d said {q.name}, and they went together.",
        f"There was nothing left to do \u2014 so {p.he} sang.",
        f"They sat in the caf\u00e9 near {place} until the lamps were lit.",
        f"{rng.choice(ELDERS).name} called from {place}, but {p.he} didn\u2019t hear it.",
        rng.choice(WEATHERS),
        rng.choice(WEATHERS),
    )
    return rng.choice(forms)


SCENES: tuple[tuple[Scene, int], ...] = (
    (climb_twice, 7),
    (climb_once, 3),
    (under_the_tree, 3),
    (falling, 2),
    (full_of, 3),
    (loved, 2),
    (where_is, 3),
    (is_that, 3),
    (needed, 3),
    (riddle, 2),
    (lasted, 2),
    (character, 2),
    (described, 2),
    (cake, 2),
    (market, 2),
    (swap, 2),
    (in_the_grass, 2),
    (heard, 2),
    (animal_eats, 2),
    (draws, 2),
    (promise, 2),
    (no_article, 10),
)
