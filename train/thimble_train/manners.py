"""Conversations that teach who Thimble is, how it behaves and what it knows, made from the hand-written intents of
data/manners-*.txt.

A file has groups (`# group`) of intents (`@ name`). An intent is what a user may say (`?`, wordings apart by `|`), what
Thimble answers (`!`, one a line), and what may follow (`??` and its answers `!!`). Words in braces are filled in, the
same within one conversation: {name}, {color} and the like from `SLOTS`, {previous} and {first} with the last answer and
its first sentence.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "data"

SLOTS = {
    "name": "Anna Tom Maria Ben Lucy Sam Emma Jack Sara Leo Mia Paul Nina Max Julia David Kate Omar Lily Peter Amy "
            "Noah Rosa Ali",
    "color": "red blue green yellow purple orange pink white black brown",
    "animal": "dog cat horse lion tiger bear rabbit elephant penguin bird frog snail dolphin monkey turtle owl duck",
    "pet": "dog cat rabbit hamster bird fish turtle kitten puppy parrot",
    "food": "pizza soup pasta rice bread cake salad chocolate cheese chicken curry ice_cream toast",
    "sport": "football tennis basketball soccer hockey volleyball golf baseball",
    "fruit": "apples bananas grapes cherries pears plums strawberries melons tomatoes carrots",
    "drink": "tea coffee milk juice water lemonade cocoa",
    "activity": "reading swimming dancing painting cooking singing running drawing fishing hiking sailing skating",
    "outing": "swimming dancing running hiking fishing sailing skating camping",
    "instrument": "guitar violin flute trumpet harp cello clarinet",
    "job": "teacher nurse cook driver baker farmer gardener builder painter waiter doctor",
    "subject": "math history science music art sport chemistry",
    "language": "French Spanish German Italian Japanese Portuguese",
    "woman": "mother sister grandmother aunt daughter cousin neighbor boss",
    "man": "father brother grandfather uncle son cousin neighbor boss",
    "lost": "phone bag book hat umbrella wallet ring watch key cup",
    "ache": "head tooth stomach back ear neck knee foot",
    "flower": "rose tulip sunflower orchid",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "number": "two three four five six seven eight nine ten",
    "city": "London Paris Rome Berlin New_York Tokyo Madrid Boston Dublin Chicago Sydney Vienna",
}
OPENINGS = ("hello",)
CLOSINGS = ("thanks", "bye")
REPLIES = ("correct", "follow")  # only make sense after something was said


@dataclass
class Intent:
    """One thing that a user may want: its wordings, answers, and the exchanges that may follow it."""

    group: str
    name: str
    questions: list = field(default_factory=list)
    answers: list = field(default_factory=list)
    follow_ups: list = field(default_factory=list)  # of (questions, answers)


def load(folder=FOLDER):
    """The intents of all files `manners-*.txt` in `folder`; raises ValueError at a line that is none of the above."""
    intents, group = [], ""
    for path in sorted(Path(folder).glob("manners-*.txt")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            mark, _, text = line.strip().partition(" ")
            wordings = [part.strip() for part in text.split(" | ")]
            if mark == "#":
                group = text
            elif mark == "@":
                intents.append(Intent(group, text))
            elif mark == "?":
                intents[-1].questions += wordings
            elif mark == "!":
                intents[-1].answers.append(text)
            elif mark == "??":
                intents[-1].follow_ups.append((wordings, []))
            elif mark == "!!":
                intents[-1].follow_ups[-1][1].append(text)
            elif mark:
                raise ValueError(f"{path.name}:{number}: a line starts with one of # @ ? ! ?? !!, not {mark!r}")
    return intents


def conversations(intents, longer, seed=0):
    """Every question of `intents` with two of its answers, then `longer` conversations of two to four exchanges."""
    draw = random.Random(seed)
    seen = set()
    for turns in shuffled(singles(intents, draw), draw) + [chain(intents, draw) for _ in range(longer)]:
        if tuple(turns) not in seen:
            seen.add(tuple(turns))
            yield {"source": "manners", "turns": turns}


def shuffled(items, draw):
    """`items` as a list in another order."""
    items = list(items)
    draw.shuffle(items)
    return items


def singles(intents, draw):
    """One exchange for each question, as written and as somebody in a hurry types it, with different answers."""
    for intent in intents:
        if intent.group in REPLIES:
            continue
        for question in intent.questions:
            answers = draw.sample(intent.answers, min(2, len(intent.answers)))
            for number, answer in enumerate(answers):
                talk = Talk(draw)
                talk.say([question], [answer], hurried=number > 0)
                yield talk.turns


class Talk:
    """A conversation that grows: `turns` so far, and the words that its slots hold."""

    def __init__(self, draw):
        self.draw = draw
        self.turns = []
        self.slots = {slot: draw.choice(words.split()).replace("_", " ") for slot, words in SLOTS.items()}

    def say(self, questions, answers, hurried=None):
        """Adds an exchange: one of `questions`, hurried or not (by chance when None), and one of `answers`."""
        question = self.fill(self.draw.choice(questions))
        if self.draw.random() < 0.5 if hurried is None else hurried:
            question = hurry(question, self.draw) or question
        self.turns += [question, self.fill(self.draw.choice(answers))]

    def fill(self, text):
        """`text` with its slots filled, and "an" before a vowel."""
        previous = self.turns[-1] if self.turns else ""
        first = re.match(r".*?[.!?](?=\s|$)|.*", previous, re.S)[0]
        values = {**self.slots, "previous": previous, "first": first}
        text = re.sub(r"\{(\w)(\w*)\}", lambda m: self.value(values, m[1], m[2]), text)
        text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)
        return text[:1].upper() + text[1:]

    def value(self, values, initial, rest):
        """What a slot holds; with a capital when its name is written with one."""
        value = values[initial.lower() + rest]
        return value[:1].upper() + value[1:] if initial.isupper() else value


def chain(intents, draw):
    """Two to four exchanges: a greeting perhaps, one or two subjects and what follows them, perhaps thanks, after which some
    go on."""
    talk = Talk(draw)
    subjects = [i for i in intents if i.group not in (*OPENINGS, *CLOSINGS, *REPLIES)]
    exchanges = draw.choice((2, 2, 3, 3, 4))
    named = False
    if draw.random() < 0.35:
        opening = draw.choice([i for i in intents if i.group in OPENINGS])
        named = opening.name == "meet"
        subject(talk, opening, draw)
    while len(talk.turns) // 2 < exchanges:
        last = len(talk.turns) // 2 == exchanges - 1
        chance = draw.random()
        if talk.turns and last and chance < 0.3:
            intent = draw.choice([i for i in intents if i.group in CLOSINGS])
            talk.say(intent.questions, intent.answers)
        elif talk.turns and chance < 0.1:
            intent = draw.choice([i for i in intents if i.group == "thanks"])
            talk.say(intent.questions, intent.answers)
        elif talk.turns and chance < 0.4:
            intent = draw.choice([i for i in intents if i.group in REPLIES])
            if fits(intent, talk.turns[-1]):
                talk.say(intent.questions, intent.answers)
        else:
            intent = draw.choice(subjects)
            if not (named and intent.name == "personal"):
                subject(talk, intent, draw)
    return talk.turns


def subject(talk, intent, draw):
    """Adds an exchange about `intent` and, most often, one or two of those that may follow it. Not everybody answers when Thimble
    asked: where all did, whatever came next was taken for an answer."""
    talk.say(intent.questions, intent.answers)
    most = draw.choice((0, 1, 1, 2))
    for follow_up in draw.sample(intent.follow_ups, min(most, len(intent.follow_ups))):
        talk.say(*follow_up)


def fits(intent, previous):
    """Whether the reply `intent` can be said after the answer `previous`."""
    if intent.name == "shorter":
        return len(re.findall(r"[.!?](?=\s|$)", previous)) > 1 and len(previous) > 60
    return not previous.endswith("?")


SHORT = {"you": "u", "are": "r", "please": "pls", "what is": "whats", "what's": "whats", "I am": "im", "I'm": "im",
         "don't": "dont",
         "can't": "cant", "do not": "dont", "because": "cuz", "thank you": "thx"}


def hurry(text, draw):
    """`text` as typed in haste: without capitals, without the last mark, at times with a slip or a short form."""
    if draw.random() < 0.7:
        text = re.sub(r"[.!?]+$", "", text)
    if draw.random() < 0.12:
        long, short = draw.choice(list(SHORT.items()))
        text = re.sub(rf"\b{long}\b", short, text, flags=re.I)
    if draw.random() < 0.1 and len(text) > 8:
        at = draw.randrange(1, len(text) - 2)
        if text[at:at + 2].isalpha():
            text = text[:at] + draw.choice((text[at + 1] + text[at], text[at],
                                            text[at] * 2 + text[at + 1])) + text[at + 2:]
    return text.lower() if draw.random() < 0.75 else text
