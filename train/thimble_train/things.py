"""Lessons out of the hand-written tables: animals, opposites, things, the body, jobs, shapes, how-tos."""

import re

from .english import a, capital, in_words, joined, pick


class Things:
    """Each lesson takes a source of chance and returns turns."""

    def __init__(self, tables):
        self.tables = tables

    def animal(self, draw):
        """What an animal is, says, eats; with follow-ups that say "it"."""
        name, many, says, lives, eats, legs, baby, _, what = draw.choice(self.tables["animals"])
        one = a(name)
        facts = [
            (f"What is {one}?|Tell me about {many}.|What do you know about {many}?|Describe {one}.", "What is it?",
             f"{one} is {what}.|{one} is {what}. It lives {lives}."),
            (f"What sound does {one} make?|What does {one} say?|What noise does {one} make?",
             "What sound does it make?|What does it say?", f"{one} {says}."),
            (f"Where does {one} live?|Where do {many} live?|Where can I find {one}?",
             "Where does it live?|And where does it live?",
             f"{one} lives {lives}.|{many} live {lives}."),
            (f"What does {one} eat?|What do {many} eat?|What is the food of {one}?",
             "What does it eat?|And what does it eat?",
             f"{one} eats {eats}.|{many} eat {eats}."),
            (f"How many legs does {one} have?|How many legs do {many} have?", "How many legs does it have?",
             f"{one} has {legs} legs.|{many} have {legs} legs."),
            (f"What is a baby {name} called?|What do you call a baby {name}?|What is the name of a baby {name}?",
             "What is its baby called?|What do you call its baby?", f"A baby {name} is called {a(baby)}."),
        ]
        turns = []
        for index in draw.sample(range(len(facts)), draw.choice((1, 1, 2, 3))):
            first, later, answers = facts[index]
            turns += [pick(later if turns else first, draw), pick(answers, draw)]
        other = draw.choice(self.tables["animals"])
        another = {1: f"{a(other[0])} {other[2]}.", 2: f"{a(other[0])} lives {other[3]}.",
                   3: f"{a(other[0])} eats {other[4]}."}
        if draw.random() < 0.2 and other[0] != name and index in another:
            turns += [pick(f"And {a(other[0])}?|What about {a(other[0])}?", draw), another[index]]
        return turns

    def opposite(self, draw):
        """Opposites, also in sentences."""
        word, other, one, two = draw.choice(self.tables["opposites"])
        if draw.random() < 0.5:
            word, other, one, two = other, word, two, one
        turns = [pick(f'What is the opposite of {word}?|What is the opposite of "{word}"?|Opposite of {word}?|'
                      f"Give me the opposite of {word}.|Which word is the opposite of {word}?|Tell me the opposite of "
                      f"{word}.", draw),
                 pick(f'The opposite of {word} is {other}.|The opposite of "{word}" is "{other}".|It is "{other}".',
                      draw)]
        if draw.random() < 0.5:
            turns += [pick("Use both in a sentence.|Can you use them in a sentence?|Give me an example.|Show me an "
                           "example.", draw),
                      f"{one} {two}"]
        elif draw.random() < 0.4:
            next_word, answer, _, _ = draw.choice(self.tables["opposites"])
            turns += [pick(f"And of {next_word}?|And {next_word}?|What about {next_word}?", draw),
                      f"The opposite of {next_word} is {answer}."]
        return turns

    def thing(self, draw):
        """The color or the kind of a thing."""
        (name, color, kind, _), (other, hue, sort, _) = draw.sample(self.tables["things"], 2)
        if draw.random() < 0.4:
            asked = pick(f"What is {a(name)}?|What kind of thing is {a(name)}?|Is {a(name)} {a(sort)}?|Is {a(name)} "
                         f"{a(kind)}?", draw)
            yes = "" if asked.startswith("What") else "Yes, " if asked.endswith(f" {a(kind)}?") else "No, "
            return [asked, f"{yes}{a(name)} is {a(kind)}."]
        turns = [pick(f"What color is {a(name)}?|What colour is {a(name)}?|Which color does {a(name)} have?", draw),
                 colored(name, color)]
        if draw.random() < 0.5:
            turns += [pick(f"And {a(other)}?|What about {a(other)}?", draw), colored(other, hue)]
        return turns

    def kinds(self, draw):
        """Examples of a kind of thing."""
        kind = draw.choice(("animal", "farm animal", "fruit", "vegetable", "vehicle", "tool", "flower"))
        found = [row[0] for row in self.tables["things"] if row[2] == kind] or \
            [row[0] for row in self.tables["animals"] if kind == "animal" or row[3] == "on a farm"]
        count = min(draw.choice((2, 3, 4)), len(found))
        some, names = f"{in_words(count)} {kind}s", joined([a(name) for name in draw.sample(found, count)])
        return [pick(f"Name {some}.|Give me {some}.|Tell me {some}.|Can you name {some}?|Give me a list of {some}.",
                     draw),
                pick(f"{names}.|{some} are {names}.|Here are {some}: {names}.", draw)]

    def body(self, draw):
        """What parts of the body are for, and how many there are."""
        part, use, count = draw.choice(self.tables["body"])
        if draw.random() < 0.25 and count not in ("one", "many"):
            return [pick(f"How many {part} do I have?|How many {part} do we have?|How many {part} does a person have?",
                         draw),
                    pick(f"A person has {count} {part}.|Most people have {count} {part}.", draw)]
        single = count == "one"
        return [pick(f"What {'is' if single else 'are'} the {part} for?|What {'does' if single else 'do'} the {part} "
                     f"do?|"
                     f"What do we use our {part} for?|What do we need our {part} for?", draw),
                pick(f"The {part} help{'s' if single else ''} us to {use}.|We use our {part} to {use}.|We need our "
                     f"{part} to {use}.", draw)]

    def job(self, draw):
        """What people of a trade do and where."""
        name, does, where = draw.choice(self.tables["jobs"])
        one = a(name)
        turns = [pick(f"What does {one} do?|What is {one}?|What is the job of {one}?|Tell me about the work of {one}.",
                      draw),
                 pick(f"{one} {does}.|{one} is a person who {does}.", draw)]
        if draw.random() < 0.5:
            turns += [pick(f"Where does {one} work?|And where?|Where do they work?", draw), f"{one} works {where}."]
        return turns

    def shape(self, draw):
        """Shapes, their sides and what looks like them."""
        name, sides, like = draw.choice(self.tables["shapes"])
        turns = [pick(f"What is {a(name)}?|Describe {a(name)}.|How many sides does {a(name)} have?|Tell me about "
                      f"{a(name)}.", draw),
                 pick(f"{a(name)} has {sides}.|{a(name)} is a shape. It has {sides}.", draw)]
        if draw.random() < 0.5:
            turns += [pick("What looks like it?|Give me an example.|Where can I see one?", draw),
                      f"{like} looks like {a(name)}."]
        return turns

    def concept(self, draw):
        """What something is, what it is good for, and where one meets it; in any order after the first."""
        name, what, why, where = draw.choice(self.tables["concepts"])
        bare = re.sub(r"^(a|an|the) ", "", name)
        turns = [pick(f"What is {name}?|What is {name}?|What's {name}?|Tell me about {name}.|Explain {name}.|Can you "
                      f"explain what {name} is?|What do you know about {name}?|What does {bare} mean?|Explain to a "
                      f"child what {name} is.", draw), what]
        later = [(pick("Why is it important?|Why?|What is it good for?|Why is that?|Tell me more.", draw), why),
                 (pick("Where can I find it?|Where and when?|Where can I see it?|Where is it?", draw), where),
                 (pick("Can you say it in one sentence?|Shorter, please.|Say that shorter.", draw),
                  re.match(r"[^.!?]+[.!?]", what)[0])]
        for question, answer in draw.sample(later, draw.choice((0, 1, 1, 2))):
            turns += [question, answer]
        return turns

    def howto(self, draw):
        """How to do simple things, step by step."""
        task, steps = draw.choice(self.tables["howto"])
        yours = re.sub(r"\bmy\b", "your", task)
        turns = [pick(f"How do I {task}?|How can I {task}?|How do you {yours}?|Can you tell me how to {task}?|Tell me "
                      f"how to {task}.|"
                      f"I want to {task}. How do I do it?|Explain how to {task}.|Teach me how to {task}.|How to "
                      f"{task}?", draw), steps]
        if draw.random() < 0.35:
            parts = [part.strip() for part in re.findall(r"[^.]+\.", steps)]
            turns += draw.choice([
                (pick("What do I do first?|What is the first step?|How do I start?", draw),
                 capital(parts[0].removeprefix("First, "))),
                (pick("What is the last step?|What do I do at the end?|And at the end?", draw),
                 capital(parts[-1].removeprefix("Then "))),
                (pick("Is it hard?|Is that hard?|Is it difficult?", draw), "No, it is easy. Just take your time."),
            ])
        return turns

    def simpler(self, draw):
        """A sentence said more simply."""
        hard, easy = draw.choice(self.tables["simpler"])
        return [pick(f"Say this more simply: {hard}|Make this simpler: {hard}|Can you say this in simple words? {hard}|"
                     f"Write this in easy words: {hard}|What does this mean? {hard}|Simplify this sentence: {hard}|"
                     f"Please make this sentence easier: {hard}", draw),
                pick(f"{easy}|{easy}|In simple words: {easy}", draw)]

    def repeat(self, draw):
        """A sentence said again, or its words counted: what needs the user's own words."""
        one = draw.choice(self.tables["words"])[2]
        if draw.random() < 0.6:
            return [pick(f'Repeat after me: {one}|Say this: {one}|Please repeat this sentence: {one}|Say "{one}"|Copy '
                         f'this sentence: {one}',
                         draw), one]
        count = in_words(len(one.split()))
        return [pick(f"How many words are in this sentence? {one}|Count the words: {one}|How many words does this "
                     f"have: {one}", draw),
                pick(f"This sentence has {count} words.|There are {count} words in it.", draw)]

    def bigger(self, draw):
        """Which of two animals or things is bigger or smaller."""
        known = [(row[0], int(row[7])) for row in self.tables["animals"]] + [(row[0], int(row[3]))
                                                                             for row in self.tables["things"]]
        (one, size), (two, other) = draw.sample(known, 2)
        while abs(size - other) < 3:
            (one, size), (two, other) = draw.sample(known, 2)
        big, small = (one, two) if size > other else (two, one)
        word, right, wrong = draw.choice((("bigger", big, small), ("smaller", small, big)))
        asked = pick(f"Which is {word}, {a(one)} or {a(two)}?|What is {word}: {a(one)} or {a(two)}?|Is {a(one)} "
                     f"{word} than {a(two)}?", draw)
        if asked.startswith("Is"):
            return [asked, f"{'Yes' if one == right else 'No'}, {a(right)} is {word} than {a(wrong)}."]
        return [asked, pick(f"{a(right)} is {word} than {a(wrong)}.|{a(right)} is {word}.", draw)]


def colored(name, color):
    """The sentence that tells the color of a thing."""
    return f"{a(name)} can have many colors." if color == "many colors" else f"{a(name)} is {color}."
