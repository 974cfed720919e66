"""What the teacher is asked: what a word or a term means, with the dictionary's answer beside it for the teacher alone.

Other questions were tried. To them SmolLM2-135M-Instruct mostly makes something up ("A chair is used to rest their head"), and a
model that learns from it learns to do so too.
"""

import collections
import random
import re
from typing import NamedTuple

from thimble_train.sources import rows


class Prompt(NamedTuple):
    text: str
    hint: str  # what only the teacher sees beside the text
    follow_ups: list  # what to say after the answers, none to two of them


FOLLOW_UPS = """
Tell me more. | Why? | Why is that? | Can you give me an example? | Can you give an example? | Thanks! | Thank you! | Thanks! That helps. |
Thank you very much. | What else? | Really? | Can you say that in simpler words? | Are you sure? | That is interesting. Tell me more. |
I did not know that. | How do you know? | Go on. | Can you explain that again? | What do you mean? | I like that. | Nice! |
Is that always true? | And what do you think? | Okay. Goodbye! | Thanks! Have a nice day.
""".strip().replace("\n", " ").split(" | ")
# In quotes, because no rule says which terms take an article.
TERM_TEMPLATES = ['What is meant by "{0}"?', 'Explain the term "{0}".', 'What does "{0}" mean?',
                  'Can you explain what "{0}" means?']
WORD_TEMPLATES = ['What does "{0}" mean?', 'What does the word "{0}" mean?', 'What is the meaning of "{0}"?',
                  'Explain the word "{0}".']
# Glossaries of everyday subjects, and what a small model should rather not explain.
BOOKS = {"Astronomy 2e", "Physics", "Psychology 2e", "American Government 4e", "Principles of Economics 3e",
         "Introduction to Sociology 3e"}
DELICATE = re.compile(r"sex|genit|vagin|peni[sl]|erotic|drug|suicid|rape|porn|abus|murder|kill|racis|slave|nazi|terror|"
                      r"intercourse|prostitut|abort|offensive|homosex|gender", re.I)


def defined(data):
    """[(question, what the word means), ..] of the folder `data`: what glossaries say in few words, and the dictionary's words
    that stories and simple news use often."""
    terms = {}
    for row in rows(data, "openstax-glossary"):
        term, definition = row["term"], row["definition"]
        short = re.fullmatch(r"[a-z]+( [a-z]+)?", term) and len(definition.split()) <= 20 and definition.isascii()
        if row["book"] in BOOKS and short and not DELICATE.search(f"{term} {definition}"):
            terms[term] = definition
    counts = collections.Counter()
    for name in "childrens-stories", "onestopenglish":
        for row in rows(data, name):
            counts.update(re.findall(r"[a-z]+", row["text"]))
    common = []
    for row in rows(data, "wordset"):
        word, meanings = row["word"], row["meanings"]
        if DELICATE.search(f"{word} {meanings[0]['def'] if meanings else ''}"):
            continue
        # The dictionary does not say which of many meanings is the usual one.
        if counts[word] >= 8 and len(word) > 3 and len(meanings) <= 3 and meanings[0]["pos"] in ("noun", "adjective"):
            common.append((word, meanings[0]["def"]))
    kinds = (TERM_TEMPLATES, terms.items()), (WORD_TEMPLATES, common)
    return [(template.format(word), f"{word}: {definition.strip().rstrip('.')}.")
            for templates, known in kinds for word, definition in known for template in templates]


def prompts(data, seed):
    """Every prompt once, in an order that `seed` alone decides."""
    rng = random.Random(seed)
    asked = dict(defined(data))
    for text, meaning in rng.sample(list(asked.items()), len(asked)):
        yield Prompt(text, f"({meaning})", rng.sample(FOLLOW_UPS, rng.choice((0, 0, 0, 1, 1, 2))))
