"""Lessons that need no table: counting, small sums, days and months, spelling. Each returns a conversation's turns."""

from .english import in_words, joined, pick

DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
SEASONS = {
    "spring": ("March, April and May", "Flowers grow and the days get longer"),
    "summer": ("June, July and August", "It is warm and the days are long"),
    "autumn": ("September, October and November", "The leaves turn red and yellow and fall"),
    "winter": ("December, January and February", "It is cold, and in many places it snows"),
}
LENGTHS = [
    ("days are in a week", "There are seven days in a week."), ("hours are in a day", "A day has twenty-four hours."),
    ("minutes are in an hour", "An hour has sixty minutes."), ("months are in a year", "A year has twelve months."),
    ("seconds are in a minute", "A minute has sixty seconds."), ("weeks are in a year", "A year has about 52 weeks."),
    ("days are in a year", "A year has 365 days, and a leap year has 366."),
    ("seasons are there", "There are four seasons."),
]
ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()
SPELLED = """
cat dog sun moon tree house book fish bird milk bread water apple table chair happy friend school green blue yellow
mouse horse river garden flower window summer winter sister brother mother father music story paper pencil orange
banana monkey rabbit castle dragon train plane ship star cloud rain snow wind hand foot ball cake tea door bed lamp
road hill lake sea king queen boat home love kind
""".split()
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BY_LETTER = """
apple ball cat dog egg fish garden house ice jam king lamp moon night orange paper queen rain sun tree umbrella violin
water xylophone yellow zebra
""".split()


def sums(draw):
    """Small sums, in figures and in words, with a next one."""
    turns = []
    for _ in range(draw.choice((1, 1, 2, 3))):
        kind, sign = draw.choice((("plus", "+"), ("plus", "+"), ("minus", "-"), ("times", "x")))
        most = 20 if kind != "times" and draw.random() < 0.3 else 10
        one, two = draw.randint(0, most), draw.randint(0, most)
        if kind == "minus":
            one, two = max(one, two), min(one, two)
        result = {"plus": one + two, "minus": one - two, "times": one * two}[kind]
        if draw.random() < 0.4:
            one, two, result, sign = in_words(one), in_words(two), in_words(result), kind
        task, said = f"{one} {draw.choice((kind, sign))} {two}", f"{one} {kind} {two}"
        asked = "And {0}?|What about {0}?|Now {0}." if turns else \
            "What is {0}?|How much is {0}?|{0}?|Calculate {0}.|Can you tell me what {0} is?|{0} = ?"
        turns += [pick(asked, draw).format(task), pick(f"{said} is {result}.|{said} is {result}.|It is {result}.",
                                                       draw)]
    return turns


def problem(draw):
    """A word problem with small numbers."""
    name, other = draw.sample("Anna Tom Ben Mia Sam Lucy Leo Nina".split(), 2)
    thing = draw.choice("apples pens books balls cookies eggs flowers coins cards shells".split())
    one, two = draw.randint(2, 10), draw.randint(2, 10)
    if draw.random() < 0.5:
        return [f"{name} has {one} {thing}. {other} gives {name} {two} more. How many {thing} does {name} have now?",
                f"{one} plus {two} is {one + two}, so {name} has {one + two} {thing}."]
    return [f"{name} has {one + two} {thing} and gives {two} to {other}. How many {thing} are left?",
            f"{one + two} minus {two} is {one}, so {one} are left."]


def count(draw):
    """Counting up, down and in steps, and the number that comes next."""
    start, end = draw.randint(1, 60), draw.randint(3, 15)
    kind = draw.choice(("up", "down", "steps", "bigger", "after", "before"))
    if kind == "up":
        return [pick(f"Count to {end}.|Can you count to {end}?|Count from 1 to {end}.|Please count to {in_words(end)}.",
                     draw),
                listed(range(1, end + 1))]
    if kind == "down":
        return [pick(f"Count down from {end}.|Count backwards from {end}.|Can you count down from {end}?", draw),
                listed(range(end, 0, -1))]
    if kind == "steps":
        step, times = draw.choice((2, 5, 10)), draw.randint(4, 8)
        return [f"Count by {step}s to {step * times}.", listed(range(step, step * times + 1, step))]
    if kind == "bigger":
        other = draw.choice([number for number in range(1, 61) if number != start])
        return [pick(f"Which is bigger, {start} or {other}?|What is more, {start} or {other}?", draw),
                f"{max(start, other)} is bigger than {min(start, other)}."]
    answer = start + 1 if kind == "after" else start - 1
    return [pick(f"What number comes {kind} {start}?|Which number is {kind} {start}?|What comes {kind} {start}?", draw),
            pick(f"{answer} comes {kind} {start}.|The number {kind} {start} is {answer}.", draw)]


def listed(numbers):
    """Numbers apart by commas."""
    return ", ".join(map(str, numbers)) + "."


def calendar(draw):
    """Days, months and seasons in their order."""
    names, label, whole = draw.choice([(DAYS, "day", "week"), (MONTHS, "month", "year")])
    at = draw.randrange(len(names))
    kind = draw.choice(("after", "before", "number", "all", "season", "length"))
    if kind in ("after", "before"):
        step = 1 if kind == "after" else -1
        one, two = names[(at + step) % len(names)], names[(at + 2 * step) % len(names)]
        turns = [pick(f"What {label} comes {kind} {names[at]}?|Which {label} is {kind} {names[at]}?|"
                      f"What comes {kind} {names[at]}?", draw),
                 pick(f"{one} comes {kind} {names[at]}.|The {label} {kind} {names[at]} is {one}.", draw)]
        if draw.random() < 0.4:
            turns += [pick("And then?|And the next one?", draw), f"Then comes {two}."] if step == 1 else \
                ["And before that?", f"Before that is {two}."]
        return turns
    if kind == "number":
        which = f"{ORDINALS[at]} {label} of the {whole}"
        return [pick(f"What is the {which}?|Which is the {which}?|Name the {which}.", draw),
                f"The {which} is {names[at]}."]
    if kind == "all":
        return draw.choice([
            [pick(f"What are the {label}s of the {whole}?|Name the {label}s of the {whole}.|List all {label}s.", draw),
             f"The {label}s of the {whole} are {joined(names)}."],
            ["What are the four seasons?", "The four seasons are spring, summer, autumn and winter."],
            ["What days are the weekend?", "Saturday and Sunday are the weekend."],
        ])
    if kind == "length":
        asked, answer = draw.choice(LENGTHS)
        return [f"How many {asked}?", answer]
    season, (months, like) = draw.choice(list(SEASONS.items()))
    if draw.random() < 0.5:
        return [pick(f"Which months are in {season}?|When is {season}?|What months does {season} have?", draw),
                pick(f"In the north, {season} is in {months}.|The months of {season} are {months}.", draw)]
    return [pick(f"What is {season} like?|Tell me about {season}.|Describe {season}.|What happens in {season}?", draw),
            pick(f"{like} in {season}.|{like}. That is {season}.", draw)]


def spell(draw):
    """Letters of short words: spelling, counting, first and last."""
    word = draw.choice(SPELLED)
    kind = draw.choice(("spell", "spell", "count", "first", "last"))
    if kind == "spell":
        letters = "-".join(word.upper())
        return [pick(f'How do you spell {word}?|Spell {word}.|Spell the word "{word}".|Can you spell {word}?', draw),
                pick(f"{word} is spelled {letters}.|{letters}.|You spell {word} like this: {letters}.", draw)]
    if kind == "count":
        return [pick(f'How many letters are in {word}?|How many letters does "{word}" have?|Count the letters in '
                     f'{word}.', draw),
                f'The word "{word}" has {in_words(len(word))} letters.']
    letter = (word[0] if kind == "first" else word[-1]).upper()
    return [pick(f'What is the {kind} letter of {word}?|Which letter is {kind} in "{word}"?', draw),
            f"The {kind} letter of {word} is {letter}."]


def alphabet(draw):
    """The letters in their order, and words that begin with them."""
    at = draw.randint(1, 24)
    here, word = LETTERS[at], BY_LETTER[at]
    return draw.choice([
        [f"What letter comes after {here}?", f"{LETTERS[at + 1]} comes after {here}."],
        [f"Which letter is before {here}?", f"{LETTERS[at - 1]} is before {here}."],
        ["How many letters are in the alphabet?", "The English alphabet has twenty-six letters."],
        [pick("Say the alphabet.|Can you say the alphabet?|Tell me the alphabet.", draw), ", ".join(LETTERS) + "."],
        [pick(f"Name a word that starts with {here}.|Give me a word with {here}.", draw),
         pick(f"A word that starts with {here} is {word}.|{word} starts with {here}.", draw)],
    ])
