"""Prompts are many, distinct and seeded; the filters keep good answers and drop bad ones; a stopped run goes on."""

import gzip
import json
import lzma

import pytest
import torch

from thimble_train import teacher
from thimble_train.prompts import Prompt, prompts


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder with the files that prompts are seeded by, each of a few rows."""
    folder = tmp_path_factory.mktemp("data")
    files = {
        "openstax-glossary": [
            {"book": "Physics", "term": "inertia", "definition": "the tendency of a thing to stay as it is."},
            {"book": "Anatomy and Physiology 2e", "term": "pollex", "definition": "digit 1 of the hand"}],
        "wordset": [
            {"word": "lantern", "meanings": [{"pos": "noun", "def": "a light in a case", "example": None}]},
            {"word": "rarely", "meanings": [{"pos": "adverb", "def": "not often", "example": None}]},
            {"word": "astrolabe", "meanings": [{"pos": "noun", "def": "an old instrument", "example": None}]}],
        "childrens-stories": [{"text": "The lantern was bright. " * 9 + "He came rarely. " * 9}],
        "onestopenglish": [{"text": "A lantern."}],
    }
    for name, rows in files.items():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    return folder


def test_prompts_are_distinct_and_seeded_and_the_teacher_alone_sees_what_dictionaries_say(data):
    first = list(prompts(data, 1))
    assert first == list(prompts(data, 1)) and first != list(prompts(data, 2))
    assert {prompt.text for prompt in first} == {
        'What is meant by "inertia"?', 'Explain the term "inertia".', 'What does "inertia" mean?', 'Can you explain what "inertia" means?',
        'What does "lantern" mean?', 'What does the word "lantern" mean?', 'What is the meaning of "lantern"?', 'Explain the word "lantern".'}
    assert len(first) == 8
    assert {prompt.hint for prompt in first} == {"(inertia: the tendency of a thing to stay as it is.)", "(lantern: a light in a case.)"}
    heard = [prompt.follow_ups for seed in range(20) for prompt in prompts(data, seed)]
    assert {len(said) for said in heard} == {0, 1, 2} and all(len(set(said)) == len(said) for said in heard)


GOOD = [
    ("A lamp gives light. You can put it on a table.", "A lamp gives light. You can put it on a table."),
    ("  I\u2019m glad \u2014 it\u2019s sunny!  ", "I'm glad - it's sunny!"),
    ("Do this:\n\n1. Wash it.\n2. Dry it.", "Do this:\n1. Wash it.\n2. Dry it."),
    ('She said, "Good night."', 'She said, "Good night."'),
]


@pytest.mark.parametrize("answer, text", GOOD)
def test_good_answers_are_kept(answer, text):
    assert teacher.cleaned(answer, True, "What is it?") == text


BAD = [
    "As an AI, I can tell you about lamps.", "I am SmolLM, a friend.", "I was trained by Hugging Face.",
    "I am a language model. Lamps are nice.", "I'm sorry, but I can't help with that.", "I don't have feelings.",
    "I cannot answer that question.", "A lamp is **bright**.", "# Lamps\nLamps are bright.",
    "See https://lamps.example.", "You are welcome! I am glad to help.",
    "A lamp is a little pea.", "A lamp is a lampolampolampolampo.",
    "Lamps are bright \U0001f600.", "A lamp is a thing and", "A lamp is bright, a lamp is bright, a lamp is bright.",
    "It is nice. It is warm. It is nice. It is warm. It is nice.", "Here is a short, simple sentence. It is a lamp.",
    "1. A\n2. B\n3. C\n4. D\n5. E\n6. F.", "What is a lamp?", 'He said, "Hello.', "Yes.",
    "A lamp is a lamp.", "In the dark a bright lamp is the bright lamp, of all.",
    "A spoon is a small tool for eating. I like it.", " ".join(f"word{i}" for i in range(90)) + " end.", "",
]


@pytest.mark.parametrize("answer", BAD)
def test_bad_answers_are_dropped(answer):
    assert teacher.cleaned(answer, True, "What is a lamp?") is None


def test_thanks_are_answered_kindly():
    assert teacher.cleaned("You are welcome! I am glad to help.", True, "Thank you!")


def test_an_answer_that_did_not_end_is_cut_after_two_sentences_or_dropped():
    whole = "Lamps are bright. They help us read."
    assert teacher.cleaned(f"{whole} They are", False, "?") == whole
    assert teacher.cleaned("Lamps are bright. They help us", False, "?") is None


def test_what_follows_is_asked_until_an_answer_is_bad():
    class Pupil(teacher.Teacher):
        def __init__(self):
            pass

        def answers(self, conversations):
            return [None if turns[-1] == "Why?" else f"Answer {len(turns)}." for turns in conversations]

    chunk = [Prompt("Hi.", "", ["Go on.", "And then?"]), Prompt("Hi.", "", ["Why?", "Go on."]), Prompt("Why?", "", ["Go on."])]
    assert Pupil().converse(chunk) == [
        ["Hi.", "Answer 1.", "Go on.", "Answer 3.", "And then?", "Answer 5."], ["Hi.", "Answer 1."], None]


class Parrot:
    """A teacher whose answers tell which prompts it was given."""

    asked = []

    def __init__(self, path, device, seed):
        self.generator = torch.Generator()

    def converse(self, chunk):
        self.asked += [prompt.text for prompt in chunk]
        return [[prompt.text, "An answer of six good words."] if i % 3 else None for i, prompt in enumerate(chunk)]

    def tokens(self, turns):
        return len(turns[1].split())


def test_a_run_that_was_stopped_goes_on_after_its_last_prompt(tmp_path, monkeypatch):
    questions = [f"What is thing {i}?" for i in range(1000)]
    monkeypatch.setattr(teacher, "prompts", lambda data, seed: (Prompt(question, "", []) for question in questions))
    monkeypatch.setattr(teacher, "Teacher", Parrot)
    monkeypatch.setattr(teacher, "CHUNK", {"cpu": 50, "cuda": 50})
    Parrot.asked = []
    out = tmp_path / "teacher.jsonl"
    teacher.teach("model", tmp_path, out, 300, 7)
    begun = len(Parrot.asked)
    teacher.teach("model", tmp_path, out, 900, 7)
    assert 0 < begun < len(Parrot.asked)
    assert Parrot.asked == questions[:len(Parrot.asked)]
    with open(out) as file:
        rows = [json.loads(line) for line in file]
    assert 900 <= 6 * len(rows) < 900 + 6 * 50
    assert all(row["source"] == "smollm2-teacher" and len(row["turns"]) == 2 for row in rows)
    assert len({row["prompt"] for row in rows}) == len(rows)


def test_what_was_kept_is_read_once_and_only_while_it_is_fit(tmp_path):
    text = tmp_path / "kept.jsonl.xz"
    good = ["What is a lamp?", "A lamp gives light."]
    rows = [good, ["What is a lamp?", "A lamp is a lamp."], good, good + ["Why?", "It has a bulb."]]
    with lzma.open(text, "wt") as file:
        file.writelines(json.dumps({"prompt": 1, "turns": turns}) + "\n" for turns in rows)
    assert [row["turns"] for row in teacher.conversations(text)] == [rows[0], rows[3]]
