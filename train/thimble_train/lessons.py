"""Conversations made by rules: words, things, animals, countries, numbers, how-tos, little stories, in simple English.

A lesson is a function of a source of chance that returns the turns of one conversation. `QUOTAS` says how many of each.
"""

import random
from pathlib import Path

from . import numbers, stories
from .english import capital
from .geography import Geography
from .manners import hurry
from .things import Things
from .vocabulary import Vocabulary

TABLES = Path(__file__).parent.parent / "data" / "lessons.txt"
QUOTAS = {
    "tale": 6000, "concept": 3000, "animal": 2500, "word": 2000, "dictionary": 1500, "glossary": 400, "unknown": 2500, "opposite": 1000,
    "thing": 900, "body": 350, "job": 500, "shape": 150, "howto": 700, "simpler": 400, "country": 2000, "bigger": 1200,
    "kinds": 500, "repeat": 500, "sums": 2500, "problem": 500, "count": 500, "calendar": 900, "spell": 1000,
    "alphabet": 300,
}
THANKS = [("Thank you!", "You are welcome!"), ("Thanks", "You're welcome!"), ("OK, thanks!", "No problem at all!"),
          ("Thank you, that helps.", "I am glad that I could help."), ("Great, thank you.", "Any time!")]


def tables(path=TABLES):
    """The hand-written tables: {name: [[cell, ...], ...]}."""
    found, table = {}, None
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            table = found[line[2:].split(":")[0]] = []
        elif line.strip():
            table.append([cell.strip() for cell in line.split(" | ")])
    return found


def conversations(data, quotas, seed=0):
    """Rows of conversation: of each lesson its quota, or as many different ones as it has."""
    teachers = [Things(tables()), Vocabulary(data, tables()), Geography(data, tables()), numbers, stories]
    return taught(teachers, random.Random(seed), quotas)


def taught(teachers, draw, quotas):
    """The lessons named in `quotas`, each a function of the first of `teachers` that has it."""
    for name, quota in quotas.items():
        lesson = next(getattr(teacher, name) for teacher in teachers if hasattr(teacher, name))
        seen = set()
        for _ in range(quota * 3):
            if len(seen) == quota:
                break
            turns = [capital(turn) for turn in lesson(draw)]
            if draw.random() < 0.08:
                turns += draw.choice(THANKS)
            if tuple(turns) not in seen:
                seen.add(tuple(turns))
                asked = [(hurry(turn, draw) or turn) if draw.random() < 0.35 else turn for turn in turns[::2]]
                yield {"source": "lessons", "turns": [turn for pair in zip(asked, turns[1::2]) for turn in pair]}
