"""Small stories of an orchard, told from a random stream: scenes make paragraphs, paragraphs make tales.

A pair of trees that is held out (`HELD_OUT`) is never climbed one after the other in any tale, so that the prompts of
`held_out_prompts` are sentences that no model trained on these tales has read.
"""

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

from orchard.words import (
    CONSONANT_FRUITS,
    ELDERS,
    FRUIT_TREES,
    NARRATOR,
    PERSONS,
    VOWEL_FRUITS,
    Person,
    Tree,
    a,
    adjective,
    animal,
    capital,
    fruit,
    noun,
    plural,
    thing,
    tree,
    words,
)

Scene = Callable[[Random, Person, Person], str]

CLIMBED = re.compile(r"climbed up the (\w+) tree")
CANONICAL = ("pear", "apple", "lemon")
NUMBERS = (*words("two three four five six seven eight nine ten"), "a\u00a0dozen")
PLACES = tuple(f"the {place}" for place in words("garden orchard kitchen barn market meadow village river mill"))
CONTAINERS = words("basket bag box barrow pocket bucket sack bowl")
WEATHERS = (
    "The sun was warm and the air smelled of grass.",
    "A light wind went through the leaves.",
    "It had rained all night, and every leaf was shining.",
    "The morning was cold and clear.",
    "Not a cloud was to be seen.",
    "Bees hummed in the clover.",
    "The church clock struck nine.",
    "Fog lay over the river, and the hills were grey.",
    "Nobody said a word for a while.",
    "Somewhere behind the hedge a cock crowed.",
    "The shadows of the trees grew long\u2026",
    "Swallows flew low over the roofs.",
)
WHEN = (
    "at once",
    "before supper",
    "without a word",
    "with a smile",
    "after a while",
    "in the end",
    "all the same",
    "soon after",
)
# What someone is about to do, and the thing that it takes.
NEEDS = (
    ("It began to rain", "umbrella"),
    ("There was wood to chop", "axe"),
    ("The boat would not move", "oar"),
    ("There was a cake to bake", "apron"),
    ("The letter was ready to be sent", "envelope"),
    ("The ship had to stay where it was", "anchor"),
    ("The bow was ready", "arrow"),
    ("There was a picture to paint", "easel"),
    ("There was a mistake in the drawing", "eraser"),
    ("The dancers asked for music", "accordion"),
    ("The shirts were full of creases", "iron"),
    ("The pen was dry", "inkpot"),
    ("It was much too dark in the cellar", "lantern"),
    ("There was a nail to drive in", "hammer"),
    ("There was a hole to dig", "spade"),
    ("The wind was just right for flying", "kite"),
    ("The bough was too high to reach", "ladder"),
    ("There was tea to boil", "kettle"),
    ("The floor was full of crumbs", "broom"),
    ("The door was locked", "key"),
    ("The soup was hot", "spoon"),
    ("The bread had to be cut", "knife"),
    ("The night was cold", "blanket"),
    ("There was no light but the moon", "candle"),
)
RIDDLES = (
    ("It hoots in the night and sees in the dark", "owl"),
    ("It is tiny and has six legs and carries more than its own weight", "ant"),
    ("It is as heavy as a house and has a trunk", "elephant"),
    ("It swims in the river and eats fish and has whiskers", "otter"),
    ("It is a bird that cannot fly, but it runs like a horse", "ostrich"),
    ("It is long and thin and lives in the water", "eel"),
    ("It is round and white and breaks when it falls", "egg"),
    ("It makes the cook cry", "onion"),
    ("It keeps the rain off", "umbrella"),
    ("It is round and sweet and a little like the sun", "orange"),
    ("It is small and green and grows in the south, and oil is made of it", "olive"),
    ("It is yellow and very sour", "lemon"),
    ("It is long and yellow and bent", "banana"),
    ("It has a red coat and a bushy tail and steals hens", "fox"),
    ("It is covered with spines and eats snails", "hedgehog"),
    ("It carries its house on its back", "snail"),
    ("It has hands and a face, and it never stops talking", "clock"),
    ("It has steps and leads into the tree", "ladder"),
    ("It jumps and croaks and lives by the pond", "frog"),
    ("It has one horn, and nobody has ever seen it", "unicorn"),
)
TIMES = (
    ("sixty minutes", "hour"),
    ("sixty seconds", "minute"),
    ("seven days", "week"),
    ("twelve months", "year"),
    ("twenty-four hours", "day"),
)
TRAITS = (
    ("never told a lie", "honest"),
    ("often forgot things", "absent-minded"),
    ("could not sit still", "impatient"),
    ("worked from morning to night", "hard-working"),
    ("helped everybody", "kind"),
    ("was afraid of nothing", "brave"),
    ("was seldom in a good mood", "unhappy"),
    ("had seen ninety summers", "old"),
    ("spoke only when somebody asked", "quiet"),
)


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


def paragraph(rng: Random, p: Person, q: Person) -> str:
    """Tell a few scenes about two persons."""
    scenes = rng.choices([scene for scene, _ in SCENES], [weight for _, weight in SCENES], k=rng.randint(2, 5))
    told = dict.fromkeys(scenes)
    return " ".join(scene(rng, p, q) for scene in told)


def two_persons(rng: Random) -> tuple[Person, Person]:
    """Draw the two persons of a tale; one in five is told by an "I"."""
    p, q = rng.sample(PERSONS, 2)
    return (NARRATOR, q) if rng.random() < 0.2 else (p, q)


def climbs_held_out(paragraphs: list[str]) -> bool:
    """Return whether two trees are climbed one after the other that are held out, however much lies between them."""
    trees = CLIMBED.findall("\n".join(paragraphs))
    return any(pair in HELD_OUT for pair in pairwise(trees))


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
