"""The found conversations: instructions, dialogues, questions and small talk out of the folder DATA."""

import csv
import random
import re
from pathlib import Path

from .clean import Duplicates, ends_well, is_plain, is_rude, normalise, words
from .sources import common_words, difficulty, rows

DIALOGUES = 12_000  # windows of each corpus of dialogues, the simplest
TRIVIA = 6_000


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
        if answer.count("\n") > 3 or re.search(r"^\s*(?:[-*]|\d+[.)])", answer, re.M) or answer.count(",") > 12:
            continue
        answer = capital(answer)
        if not answer.endswith((".", "!", "?")):
            answer += "."
        turns = [f"{capital(question)}\n{context}" if context else capital(question), answer]
        if all(map(is_plain, turns)) and not is_rude(" ".join(turns)):
            yield turns


def capital(text):
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]


def tidy(turn):
    """A turn that somebody typed in haste, as a sentence."""
    turn = re.sub(r"\s+", " ", normalise(turn))
    turn = re.sub(r"\bi(?=\b(?!\.e))", "I", turn)
    turn = re.sub(r"\b(I|you|he|she|it|that|don|can|isn|doesn|didn|won) (m|re|s|t|ve|ll)\b(?=\s)", r"\1'\2", turn)
    for wrong, right in (("dont", "don't"), ("im", "I'm"), ("didnt", "didn't"), ("thats", "that's"), ("cant", "can't"), ("ive", "I've"),
                         ("isnt", "isn't"), ("doesnt", "doesn't"), ("wasnt", "wasn't"), ("alot", "a lot"), ("lol", ""), ("haha", "Ha ha")):
        turn = re.sub(rf"\b{wrong}\b", right, turn, flags=re.I)
    turn = re.sub(r"\s+([,.!?])", r"\1", turn).strip(" ,")
    turn = re.sub(r"([.!?]) ([a-z])", lambda m: f"{m[1]} {m[2].upper()}", turn)
    turn = re.sub(r"([.?!]),|,([.?!])", lambda m: m[1] or m[2], turn)
    turn = capital(turn)
    if turn and turn[-1] not in ".!?\"')":
        turn += "?" if re.match(r"(?:do|did|have|are|is|was|what|who|how|why|where|when|which|would|could|can|will)\b", turn, re.I) else "."
    return turn


def windows(dialogues, common, seed):
    """Two to eight turns of each dialogue, from its beginning or from a question on, the simplest `DIALOGUES` of all."""
    draw = random.Random(seed)
    found = []
    for turns in dialogues:
        turns = [tidy(turn) for turn in turns]
        at = 0
        while at + 2 <= len(turns):
            size = min(draw.choice((2, 4, 4, 6, 6, 8)), (len(turns) - at) // 2 * 2)
            window = turns[at:at + size]
            opens = at == 0 or window[0].endswith("?") and 5 <= len(window[0].split()) <= 25
            if opens and all(1 <= len(turn.split()) <= 50 and is_plain(turn) for turn in window) and not is_rude(" ".join(window)):
                found.append((difficulty(" ".join(window), common) + names(window), window))
                at += size
            else:
                at += 1
    found.sort(key=lambda pair: pair[0])
    found = found[:DIALOGUES]
    draw.shuffle(found)
    return [window for _, window in found]


def names(window):
    """A penalty for talk about people, films and teams that nobody can follow: names by turn."""
    return sum(len(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+", turn)) for turn in window) / len(window)


def self_dialogue(data):
    """One person writing both sides of a chat."""
    return windows((row["turns"] for row in rows(data, "self-dialogue")), common_words(data), 1)


def topical_chat(data):
    """Two people chatting about something they read."""
    return windows((row["turns"] for row in rows(data, "topical-chat")), common_words(data), 2)


UNFAIR = re.compile(r"\b(?:these|following|below|above|picture|all of|none of|except|odd one|not an?|following|true or false|this)\b", re.I)
THEMES = {"animals", "geography", "science-technology", "world", "general", "humanities", "for-kids", "hobbies", "literature", "history"}


def trivia(data):
    """Simple questions of fact, each answered in a short sentence."""
    common = common_words(data)
    draw = random.Random(3)
    found = []
    for row in rows(data, "opentriviaqa"):
        question, answer = normalise(row["question"]), normalise(row["answer"]).rstrip(".")
        if row["category"] not in THEMES or not re.fullmatch(r"[A-Z][^?.!\n]{15,110}\?", question) or UNFAIR.search(question):
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
    match = re.fullmatch(r"(?:What|Who|Where) (is|are|was|were) (the [^,]*)\?", question)
    if match:
        return f"{capital(match[2])} {match[1]} {answer}."
    match = re.fullmatch(r"(?:Which|What) [a-z ]*?(is|was|has|lives?|are|can|invented|wrote|discovered|painted) ([^,]*)\?", question)
    if match and draw.random() < 0.7:
        return f"{capital(answer)} {match[1]} {match[2]}."
    return draw.choice(("The answer is {}.", "I think it is {}.", "It is {}.", "{}.", "That would be {}.")).format(answer)


def small_talk(data):
    """Question and answer pairs of a friendly assistant; those that give it another nature are left out."""
    with open(Path(data) / "small-talk-friendly.tsv", encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            question, answer = normalise(row["Question"]), normalise(row["Answer"])
            wrong = re.search(r"Bot_|TBD|\*|Cortana|Siri|Dude|resident|Lots and lots", question + answer + row["Metadata"])
            if not wrong and not is_rude(question) and is_plain(question):
                yield [question, capital(answer)]


SOURCES = {
    "dolly-15k": instructions, "self-dialogue": self_dialogue, "topical-chat": topical_chat, "opentriviaqa": trivia,
    "small-talk-friendly": small_talk,
}
