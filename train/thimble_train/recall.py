"""How often a hand-written question gets one of its hand-written answers, alone and after something else was said."""

import random

from thimble_train import manners
from thimble_train.transcripts import converse

# What the visitor says before it.
BEFORE = [[], ["Hello!"], ["Hello!", "How are you today?"], ["What is the capital of France?", "Thanks."]]


def questions(count, seed=3):
    """(a question, the answers that it may have), drawn from all intents that have no slots and need nothing before them."""
    found = [
        (question, intent.answers) for intent in manners.load()
        if intent.group not in manners.REPLIES and not any("{" in text for text in intent.questions + intent.answers)
        for question in intent.questions
    ]
    return random.Random(seed).sample(found, min(count, len(found)))


def recall(thimble, folder, count=500):
    """Prints the share of questions that get one of their answers, for each of BEFORE."""
    asked = questions(count)
    print("| said before | answers that are one of the question's |")
    print("| --- | --- |")
    for before in BEFORE:
        answers = converse(thimble, folder, [[*before, question] for question, _ in asked], ["--seed", "1"])
        share = sum(said[-1] in right for said, (_, right) in zip(answers, asked)) / len(asked)
        print(f"| {' '.join(before) or 'nothing'} | {share:.0%} |")
