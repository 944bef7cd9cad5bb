"""What the scenes of the orchard's tales are told with: places, weathers, needs, riddles, traits."""

from orchard.words import words

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
