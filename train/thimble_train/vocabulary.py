"""Lessons about words: what they mean, and how they stand in a sentence."""

import re

from . import manners
from .clean import is_plain, is_rude, normalise, words
from .english import a, pick
from .sources import common_words, define, is_headword, rows, sentence

MEANING = ('What does "{0}" mean?|What does {0} mean?|What does the word {0} mean?|What is the meaning of {0}?|'
           "Explain the word {0}.|Define {0}.")
USE = ("Use {0} in a sentence.|Use the word {0} in a sentence.|Make a sentence with {0}.|Write a sentence with the "
       "word {0}.|"
       'Can you use "{0}" in a sentence?|Give me a sentence with {0}.')
EXAMPLE = "Can you use it in a sentence?|Use it in a sentence.|Give me an example.|For example?|An example, please."
STRANGE = ('What is {0}?|What is {1}?|What does {0} mean?|What does "{0}" mean?|Explain {0}.|Do you know what {0} is?|'
           "Define {0}.")
STRANGERS = "Who is {0}?|Who was {0}?|Do you know {0}?|Tell me about {0}.|What did {0} do?|Have you heard of {0}?"
PASS = ("I do not know {0}. I am very small and know only simple things.|"
        "Sorry, I do not know that. A bigger model or a book will know {0}.|"
        "I have not read about {0}, and I do not want to make something up.|I do not know enough about {0} to answer that.")
PRESS = "Why not?|Just guess.|Please try.|Are you sure?|You must know that.|Make a guess."
NO_GUESS = ("If I guessed, I would most likely be wrong.|I am a very small model, and I have read only a little.|"
            "I would only make something up. Ask me something simple!|"
            "I really do not know. Please look it up somewhere else.")
FIRST_NAMES = "Adam Bella Carl Dora Edwin Freya Georg Hilda Igor Jana Karel Lotta Milo Nadia Otto Petra Rolf Selma Theo Vera".split()
SYLLABLES = "al ber cor dan el far gor han is jor kel lan mor nev or pell quin ros sten tor ul vas wen yor zan".split()
TERM = "What is {0}?|What does {0} mean?|Explain {0}.|Define {0}.|What do you know about {0}?"


class Vocabulary:
    """Each lesson takes a source of chance and returns turns."""

    def __init__(self, data, tables):
        self.common = [tuple(row) for row in tables["words"]]
        self.entries = list(entries(data))
        self.terms = list(terms(data))
        self.strange = list(strange(data))

    def word(self, draw):
        """A common word explained in simple words, and used in a sentence."""
        return explained(*draw.choice(self.common), draw)

    def dictionary(self, draw):
        """The same for words of the dictionary."""
        return explained(*draw.choice(self.entries), draw)

    def glossary(self, draw):
        """A term of a school book."""
        term, text = draw.choice(self.terms)
        return [pick(TERM, draw).format(term), pick(f'"{term}" means {text}.|The term "{term}" means {text}.', draw)]

    def unknown(self, draw):
        """A rare word or a stranger: what a small model does better not to explain."""
        if draw.random() < 0.5:
            what, asked = draw.choice(self.strange), STRANGE
        else:
            what, asked = stranger(draw), STRANGERS
        turns = [pick(asked, draw).format(what, a(what)), pick(PASS, draw).format(what)]
        if draw.random() < 0.3:
            turns += [pick(PRESS, draw), pick(NO_GUESS, draw)]
        return turns


def stranger(draw):
    """The full name of nobody."""
    return f"{draw.choice(FIRST_NAMES)} {''.join(draw.sample(SYLLABLES, draw.choice((2, 2, 3)))).capitalize()}"


def strange(data):
    """Words of the dictionary that simple English never uses, and neither school books nor manners explain."""
    common = common_words(data)
    taught = {normalise(row["term"]) for row in rows(data, "openstax-glossary")}
    taught.update(word for intent in manners.load() for text in intent.questions for word in words(text))
    for row in rows(data, "wordset"):
        word = row["word"]
        if re.fullmatch(r"[a-z]{6,14}", word) and word not in common and word not in taught and not is_rude(word):
            yield word


def explained(word, text, example, draw):
    """Turns that ask what `word` means (`text`), or for a sentence with it (`example`, may be ""), or both."""
    thing, action = text.startswith(("a ", "an ")), text.startswith("to ")
    more = f"|What is {a(word)}?" * 2 if thing else f"|What does it mean to {word}?" if action else ""
    asked = pick((MEANING + more).format(word), draw)
    if asked.startswith("What is a"):
        meaning = f"{a(word)} is {text}."
    elif action:
        meaning = pick(f"To {word} means {text}.|To {word} is {text}.", draw)
    else:
        meaning = pick(f'The word "{word}" means {text}.|"{word}" means {text}.', draw)
    chance = draw.random()
    if not example or chance < 0.3:
        return [asked, meaning]
    if chance < 0.55:
        return [asked, f"{meaning} For example: {example}"]
    if chance < 0.8:
        return [asked, meaning, pick(EXAMPLE, draw), pick(f"{example}|Here is an example: {example}|For example: "
                                                          f"{example}", draw)]
    return [pick(USE, draw).format(word), example]


def entries(data):
    """Words of the dictionary that are common and have few senses: (word, definition, example or "")."""
    common = common_words(data)
    for row in rows(data, "wordset"):
        word, senses = row["word"], row["meanings"]
        if common.get(word, 0) < 8 or not is_headword(word, common) or not 1 <= len(senses) <= 2:
            continue
        meaning = senses[0]
        if not define(word, meaning):
            continue
        text = re.sub(r"\s*\([^)]*\)", "", normalise(meaning["def"])).split(";")[0].strip(" .,").removeprefix("to ")
        text = f"to {text}" if meaning["pos"] == "verb" else text
        known = all(common.get(part, 0) >= 10 for part in re.findall(r"[a-z]+", text.lower()))
        if meaning["pos"] == "noun":
            whole = text.startswith(("a ", "an ", "the ", "something", "someone", "any "))
        else:
            whole = not text.startswith(("used ", "in or ", "of "))
        example = sentence(meaning["example"])
        rude = is_rude(f"{word} {text} {example}")
        if known and whole and len(text.split()) <= 14 and word not in text.lower() and not rude:
            yield word, text, example if re.search(rf"\b{word}\b", example.lower()) else ""


def terms(data):
    """Terms of the school books with short definitions in common words: (term, definition)."""
    common = common_words(data)
    for row in rows(data, "openstax-glossary"):
        term, text = normalise(row["term"]), normalise(row["definition"]).strip(" .").split(";")[0]
        if not re.fullmatch(r"[a-z][a-z ]{3,24}", term) or not re.match(r"(?:a|an|the) ",
                                                                        text) or len(text.split()) > 18:
            continue
        parts = re.findall(r"[a-z]+", text.lower())
        known = sum(common.get(part, 0) >= 8 for part in parts) >= 0.9 * len(parts)
        if known and is_plain(text) and not is_rude(term + " " + text) and not re.search(r"[():]|\bor, ", text):
            yield term, text
