"""The found conversations: instructions, dialogues, questions and small talk out of the folder DATA."""

import csv
import random
import re
from pathlib import Path

from .clean import Duplicates, is_plain, is_rude, normalise, words
from .english import capital
from .sources import common_words, difficulty, rows

# How many of each there may be, the simplest: chat about films and football is not what the model is for.
SELF_DIALOGUE = 5_000
TOPICAL_CHAT = 400
TRIVIA = 3_000


def conversations(data):
    """Every row of conversation that DATA has to give, duplicates within a source removed."""
    for name, source in SOURCES.items():
        duplicates = Duplicates()
        for turns in source(data):
            if not duplicates.seen("\n".join(turns), near=name != "opentriviaqa"):
                yield {"source": name, "turns": turns}


def instructions(data):
    """Instructions with short plain answers; a short text to work on stands under its instruction."""
    for row in rows(data, "dolly-15k"):
        question, context, answer = (normalise(row[key]) for key in ("instruction", "context", "response"))
        if len(context.split()) > 60 or not 2 <= len(question.split()) <= 40 or not 3 <= len(answer.split()) <= 90:
            continue
        answer = re.sub(r"\n+", "\n", answer)
        if re.match(r"(?:Classify|Identify|Which of|Which is|Categori|Tell me (?:if|whether|which))|.*: ", question,
                    re.I):
            continue
        if len(re.findall(r"(?<=[a-z,] )[A-Z]", question + " " + answer)) > 0.12 * len((question + answer).split()):
            continue
        if answer.count("\n") > 3 or re.search(r"^\s*(?:[-*]|\d+[.)])", answer, re.M) or answer.count(",") > 12:
            continue
        answer = capital(answer)
        if not answer.endswith((".", "!", "?")):
            answer += "."
        turns = [f"{capital(question)}\n{context}" if context else capital(question), answer]
        if all(map(is_plain, turns)) and not is_rude(" ".join(turns)):
            yield turns


def tidy(turn):
    """A turn that somebody typed in haste, as a sentence."""
    turn = re.sub(r"\s+", " ", normalise(turn))
    turn = re.sub(r"\bi(?=\b(?!\.e))", "I", turn)
    turn = re.sub(r"\b(I|you|he|she|it|that|don|can|isn|doesn|didn|won) (m|re|s|t|ve|ll)\b(?=\s)", r"\1'\2", turn)
    for wrong, right in (("dont", "don't"), ("im", "I'm"), ("didnt", "didn't"), ("thats", "that's"), ("cant", "can't"),
                         ("ive", "I've"),
                         ("isnt", "isn't"), ("doesnt", "doesn't"), ("wasnt", "wasn't"), ("alot", "a lot"), ("lol", ""),
                         ("haha", "Ha ha")):
        turn = re.sub(rf"\b{wrong}\b", right, turn, flags=re.I)
    turn = re.sub(r"\s+([,.!?])", r"\1", turn).strip(" ,")
    turn = re.sub(r"([.!?]) ([a-z])", lambda m: f"{m[1]} {m[2].upper()}", turn)
    turn = re.sub(r"([.?!]),|,([.?!])", lambda m: m[1] or m[2], turn)
    turn = capital(turn)
    if turn and turn[-1] not in ".!?\"')":
        turn += "?" if re.match(r"(?:do|did|have|are|is|was|what|who|how|why|where|when|which|would|could|can|will)\b",
                                turn, re.I) else "."
    return turn


# A question with one of these leans on what was said before it.
LEANS = re.compile(
    r"\b(?:he|him|his|she|her|it|its|they|them|their|this|that|those|these|then|there|too|also|again|"
    r"else|so|other|ones?|the (?:movie|film|book|song|game|show|series|scene|first|second|last|new)|final|"
    r"paper|next)\b|"
    r"^(?:you mean|what about|what\?|yes|yeah|no|exactly|great|ok|okay|right|really|oh|well|but|and|or|"
    r"because|i do|true|wow)\b",
    re.I)


def windows(dialogues, common, seed, limit):
    """Two to eight turns of each dialogue, from its beginning or from a question on, the simplest `limit` of all."""
    draw = random.Random(seed)
    found = []
    for turns in dialogues:
        turns = [tidy(turn) for turn in turns]
        at = 0
        while at + 2 <= len(turns):
            opens = at == 0 or turns[at].endswith("?") and 4 <= len(turns[at].split()) <= 20
            size = min(draw.choice((2, 4, 4, 6, 6, 8)), (len(turns) - at) // 2 * 2)
            while size and not (opens and all(map(is_fit, turns[at:at + size])) and not LEANS.search(turns[at])):
                size -= 2
            if size:
                window = turns[at:at + size]
                found.append((difficulty(" ".join(window), common) + names(window), window))
            at += size or 1
    found.sort(key=lambda pair: pair[0])
    found = found[:limit]
    draw.shuffle(found)
    return [window for _, window in found]


def is_fit(turn):
    """Whether a turn is short, plain and clean."""
    return 1 <= len(turn.split()) <= 50 and is_plain(turn) and not is_rude(turn)


def names(window):
    """A penalty for talk about people, films and teams that nobody can follow: names by turn."""
    return sum(len(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", turn)) for turn in window) / len(window)


def self_dialogue(data):
    """One person writing both sides of a chat."""
    return windows((row["turns"] for row in rows(data, "self-dialogue")), common_words(data), 1, SELF_DIALOGUE)


def topical_chat(data):
    """Two people chatting about something they read."""
    return windows((row["turns"] for row in rows(data, "topical-chat")), common_words(data), 2, TOPICAL_CHAT)


UNFAIR = re.compile(r"\b(?:these|following|below|above|picture|all of|none of|except|odd one|not an?|following|true "
                    r"or false|this)\b", re.I)
THEMES = {"animals", "geography", "science-technology", "world", "general", "humanities", "for-kids", "hobbies",
          "literature", "history"}


def trivia(data):
    """Simple questions of fact, each answered in a short sentence."""
    common = common_words(data)
    names = {row["word"] for row in rows(data, "wordset") if row["word"].istitle()}
    things = {row["word"] for row in rows(data, "wordset") if row["word"].islower()} - {name.lower() for name in names}
    draw = random.Random(3)
    found = []
    for row in rows(data, "opentriviaqa"):
        question, answer = normalise(row["question"]), normalise(row["answer"]).rstrip(".")
        answer = answer.lower() if answer.lower() in things else re.sub(r"^(?:The|On|In|An?|At|To|From|By|For|Of|"
                                                                        r"With)\b", lambda m: m[0].lower(), answer)
        if row["category"] not in THEMES or not re.fullmatch(r"[A-Z][^?.!\n]{15,110}\?",
                                                             question) or UNFAIR.search(question):
            continue
        if not 1 <= len(answer.split()) <= 4 or re.search(r"\b(?:true|false|yes|no|all|none|both)\b", answer, re.I):
            continue
        if is_plain(question) and is_plain(answer + " words") and not is_rude(question + answer):
            found.append((difficulty(question, common), [question, answer_in_full(question, answer, draw)]))
    found.sort(key=lambda pair: pair[0])
    found = found[:TRIVIA]
    draw.shuffle(found)
    return [turns for _, turns in found]


def answer_in_full(question, answer, draw):
    """"The capital of Peru is Lima." from "What is the capital of Peru?" and "Lima"."""
    match = re.fullmatch(r"(?:What|Who) (is|are|was|were) (the [^,]*)\?", question)
    if match and len(question.split()) <= 12:
        return f"{capital(match[2])} {match[1]} {answer}."
    match = re.fullmatch(r"(?:Which|What) [a-z ]*?(is|was|has|lives?|are|can|invented|wrote|discovered|painted) "
                         r"([^,]*)\?", question)
    if match and draw.random() < 0.7:
        return f"{capital(answer)} {match[1]} {match[2]}."
    shapes = ("The answer is {}.", "I think it is {}.", "It is {}.", "{}.", "That would be {}.")
    return capital(draw.choice(shapes).format(answer))


def small_talk(data):
    """Question and answer pairs of a friendly assistant; those that give it another nature are left out."""
    with open(Path(data) / "small-talk-friendly.tsv", encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            question, answer = normalise(row["Question"]), normalise(row["Answer"])
            wrong = re.search(r"Bot_|TBD|\*|Cortana|Siri|Dude|resident|Lots and lots",
                              question + answer + row["Metadata"])
            if not wrong and not is_rude(question) and is_plain(question):
                yield [question, capital(answer)]


SOURCES = {
    "dolly-15k": instructions, "self-dialogue": self_dialogue, "topical-chat": topical_chat, "opentriviaqa": trivia,
    "small-talk-friendly": small_talk,
}
