"""The training text on tiny made-up inputs: cleaning, sources, manners, lessons, and what `prepare` writes."""

import gzip
import json
import random
import re

import pytest

from thimble_train import lessons, manners, numbers, recall, stories, teacher
from thimble_train.clean import Duplicates, is_held_out, is_plain, is_prose, is_rude, normalise
from thimble_train.dialogues import answer_in_full, tidy
from thimble_train.english import a, in_words, joined
from thimble_train.geography import Geography
from thimble_train.prepare import prepare
from thimble_train.sources import countries, define, simplest
from thimble_train.things import Things
from thimble_train.vocabulary import Vocabulary, explained

STORY = ("Once upon a time there was a little dog who lived in a house by the river. He liked to run in the grass and "
         "to swim in the water. One day he found a ball under a tree. \"Is this your ball?\" he asked the cat. The "
         "cat said it was hers, and they played with it all day long until the sun went down.")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder DATA with one or a few rows of everything."""
    folder = tmp_path_factory.mktemp("data")

    def put(name, *rows):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    fact = [("Geography / Location", "Western Europe"), ("Government / Capital / name", "Paris"),
            ("Government / Country name / conventional short form", "France"),
            ("Geography / Land boundaries / border countries", "Spain 646 km; Italy 476 km"),
            ("Geography / Climate", "cool winters and mild summers")]
    put("childrens-stories", {"source": "s", "title": "The Ball", "license": "x", "text": STORY},
        {"title": "Ball", "text": STORY})
    put("onestopenglish", {"path": "x/Ele-Txt/a.txt", "text": f"The dog\u2019s ball. {STORY * 2} It isn\u2019t old."})
    put("openstax", {"text": "## Objectives\n\n- List things\n\n" + "The sun is a star that gives the earth its "
                                                                    "light. " * 8})
    put("classic-books", {"text": "# Title: A\n\n" + "\r\n\r\n".join(["\"Come in,\" he said, and she came in and sat "
                                                                      "down. " * 3] * 5)})
    put("wordset", *({"word": word, "meanings": [{"pos": "noun", "def": text, "example": "the dog found a ball there"}]}
                     for word, text in [("ball", "a little house by the river"), ("yellow", "a color"), ("zymurgy", "the art of beer")]))
    put("openstax-glossary", {"term": "light year", "definition": "the house of a dog and a cat by the river"})
    put("world-factbook", {"path": "europe/fr.json", "facts": [{"field": k, "text": v} for k, v in fact]})
    put("dolly-15k", {"instruction": "what is a dog?", "context": "", "response": "A dog is an animal that barks"},
        {"instruction": "Name ten", "context": "", "response": "\n".join(f"- item {n}" for n in range(9))})
    put("self-dialogue", {"turns": ["do you like dogs?", "i do, dont you", "what the fuck", "bye"]},
        *({"turns": [STORY.lower()]} for _ in range(12)))
    put("topical-chat", {"turns": ["Do you like the sun?", "Yes, I like it a lot.", "Me too."]})
    put("opentriviaqa", {"category": "world", "question": "What is the color of the sun?", "answer": "Yellow"},
        {"category": "world", "question": "Which of these is a dog in the house?", "answer": "Rex"})
    (folder / "small-talk-friendly.tsv").write_text("Question\tAnswer\tMetadata\nHi there\tHey.\tScenario:Greetings\n"
                                                    "Hello Siri\tHm\tScenario:Greetings\n")
    return folder


def read(path):
    """The rows of a gzipped file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_normalise_leaves_plain_ascii():
    assert normalise("\u201cIt\u2019s **fine**\u201d \u2014 he said\u2026\r\n\r\n\r\n\r\n# Caf\u00e9 &amp; "
                     "[tea](http://x)") == \
        '"It\'s fine" - he said...\n\nCafe & tea'
    assert normalise("well--yes ,  no !!") == "well - yes, no!"


@pytest.mark.parametrize("text", ["See www.example.com now.", "x = {1: 2}", "Tab | le", "1 2 3 4 5 6 7 8 9 10 11 12",
                                  "\u043f\u0440\u0438\u0432\u0435\u0442", "",
                                  'He said "no.', "Sodium aaaaaaaaaaaaaaaaaaaaaaaa."])
def test_what_is_not_plain(text):
    assert not is_plain(text)


def test_plain_prose():
    assert is_plain("come in, please") and not is_prose("come in, please")
    assert is_prose(STORY)
    assert is_rude("That is Bullshit.") and not is_rude("The class assessed a hello shell.")


def test_duplicates_exact_and_near():
    duplicates = Duplicates()
    assert not duplicates.seen(STORY)
    assert duplicates.seen(STORY.upper())
    assert duplicates.seen(STORY + " The end."), "nearly the same"
    assert not duplicates.seen("What is 2 plus 2?", near=False)
    assert not duplicates.seen("What is 2 plus 3?", near=False), "figures tell texts apart"


def test_held_out_is_about_one_in_a_hundred_and_stable():
    texts = [f"text number {n}" for n in range(20_000)]
    held = [text for text in texts if is_held_out(text)]
    assert 120 < len(held) < 280
    assert held == [text for text in texts if is_held_out(text)]


def test_simplest_keeps_order_and_bound():
    common = {word: 100 for word in ("the", "dog", "ran", "home")}
    hard = "Notwithstanding considerable incomprehension, philosophers extrapolated."
    assert list(simplest(["The dog ran.", hard, "The dog ran home."], 40, common)) == ["The dog ran.",
                                                                                       "The dog ran home."]


def test_sentences_are_put_right():
    assert tidy("i dont know , lol . maybe") == "I don't know. Maybe."
    assert tidy("what is it") == "What is it?"
    assert answer_in_full("What is the capital of Peru?", "Lima", random.Random(0)) == "The capital of Peru is Lima."
    assert define("run", {"pos": "verb", "def": "move fast; flee", "example": None}) == "To run means to move fast."
    assert (a("owl"), a("cat"), joined(["a", "b", "c"]), in_words(42)) == ("an owl", "a cat", "a, b and c", "forty-two")


def test_countries(data):
    assert [(land["name"], land["capital"], land["neighbours"]) for land in countries(str(data))] == [("France",
                                                                                                       "Paris",
                                                                                                       ["Spain",
                                                                                                        "Italy"])]


def test_every_intent_can_be_asked_and_answered():
    intents = manners.load()
    assert len(intents) >= 150
    for intent in intents:
        assert intent.questions and intent.answers, intent.name
        assert all(questions and answers for questions, answers in intent.follow_ups), intent.name
        for text in intent.questions + intent.answers:
            assert text.isascii() and "|" not in text, text
        for text in intent.answers:
            assert text.endswith((".", "!", "?", '"', "}")) and not is_rude(text), text


def test_manners_talk():
    rows = list(manners.conversations(manners.load(), longer=500, seed=1))
    assert rows == list(manners.conversations(manners.load(), longer=500, seed=1)), "the same seed, the same rows"
    whole = json.dumps(rows)
    assert "{" not in "".join("".join(row["turns"]) for row in rows), "a slot was left open"
    assert whole.count("Thimble") > 100
    for row in rows:
        assert row["source"] == "manners" and len(row["turns"]) % 2 == 0 and all(row["turns"])
    assert any(len(row["turns"]) >= 6 for row in rows)


def test_a_bad_line_of_manners_is_named(tmp_path):
    (tmp_path / "manners-x.txt").write_text("# g\n@ i\nwhat\n")
    with pytest.raises(ValueError, match="manners-x.txt:3"):
        manners.load(tmp_path)


def test_a_name_is_kept_through_a_conversation():
    intents = [intent for intent in manners.load() if intent.name == "meet"]
    talk = manners.Talk(random.Random(2))
    talk.say(intents[0].questions, intents[0].answers, hurried=False)
    talk.say(["What is my name?"], ["Your name is {name}."], hurried=False)
    name = talk.slots["name"]
    assert name in talk.turns[0] and talk.turns[3] == f"Your name is {name}."


def test_sums_are_right():
    draw = random.Random(0)
    checked = 0
    for _ in range(300):
        for turn in numbers.sums(draw)[1::2]:
            match = re.fullmatch(r"(\d+) (plus|minus|times) (\d+) is (\d+)\.", turn)
            if match:
                one, two, result = int(match[1]), int(match[3]), int(match[4])
                assert result == {"plus": one + two, "minus": one - two, "times": one * two}[match[2]]
                checked += 1
    assert checked > 100


def test_letters_match_words():
    assert [word[0].upper() for word in numbers.BY_LETTER] == list(numbers.LETTERS)


def test_stories_are_whole():
    draw = random.Random(0)
    for _ in range(200):
        text, slots = stories.story(draw)
        assert 50 <= len(text.split()) <= 130 and is_prose(text) and not re.search(r"[\[\]{}|]", text)
        assert slots["name"] in text and slots["friend"] in text


def test_tables_have_even_rows():
    widths = {"animals": 9, "opposites": 4, "concepts": 4, "things": 4, "body": 3, "jobs": 3, "shapes": 3,
              "howto": 2, "simpler": 2, "words": 3, "languages": 2}
    found = lessons.tables()
    assert {name: {len(row) for row in rows} for name, rows in found.items()} == {name: {width} for name,
                                                                                  width in widths.items()}


def test_explained_words():
    draw = random.Random(0)
    for _ in range(50):
        turns = explained("run", "to move fast", "We run home.", draw)
        assert len(turns) % 2 == 0 and "run" in turns[0]
        assert any("move fast" in turn or turn == "We run home." for turn in turns)


def test_what_is_rare_or_nobody_is_not_explained(data):
    vocabulary, draw = Vocabulary(str(data), lessons.tables()), random.Random(0)
    # Neither what plain stories use nor what the manners explain.
    assert vocabulary.strange == ["zymurgy"] and "ball" not in vocabulary.strange
    for _ in range(100):
        turns = vocabulary.unknown(draw)
        assert len(turns) in (2, 4) and re.search("know|read", turns[1]), turns
        assert "zymurgy" in turns[0] or re.search(r"[A-Z][a-z]+ [A-Z][a-z]+", turns[0]), turns


def test_every_lesson_is_plain_english(data):
    tables = lessons.tables()
    teachers = [Things(tables), Geography(str(data), tables), numbers, stories]
    quotas = {name: 40 for name in lessons.QUOTAS if name not in ("word", "dictionary", "glossary", "unknown")}
    rows = list(lessons.taught(teachers, random.Random(0), quotas))
    assert len(rows) > 500
    for row in rows:
        assert len(row["turns"]) % 2 == 0 and all(row["turns"])
        for turn in row["turns"][1::2]:
            assert turn[0].isupper() or not turn[0].isalpha(), turn
            assert turn.endswith((".", "!", "?", '"')) and turn.isascii() and not re.search(r"[{}|]", turn), turn


def test_prepare_writes_both_files(data, tmp_path, capsys, monkeypatch):
    taught = {"source": "smollm2-teacher", "turns": ["What is a lamp?", "A lamp gives light."]}
    monkeypatch.setattr(teacher, "conversations", lambda: [taught])
    prepare(str(data), tmp_path, longer=50, quotas={"word": 30, "dictionary": 1, "glossary": 1, "country": 20,
                                                    "tale": 20})
    prose = read(tmp_path / "prose.jsonl.gz") + read(tmp_path / "prose-held-out.jsonl.gz")
    talk = read(tmp_path / "conversations.jsonl.gz") + read(tmp_path / "conversations-held-out.jsonl.gz")
    assert {row["source"] for row in prose} >= {"childrens-stories", "onestopenglish", "openstax", "world-factbook"}
    assert sum(row["source"] == "childrens-stories" for row in prose) == 1, "the copy is dropped"
    assert {row["source"] for row in talk} == {"dolly-15k", "self-dialogue", "topical-chat", "opentriviaqa",
                                               "small-talk-friendly",
                                               "manners", "lessons", "smollm2-teacher"}
    assert [row["turns"] for row in talk if row["source"] == "dolly-15k"] == [["What is a dog?",
                                                                               "A dog is an animal that barks."]]
    assert [row["turns"] for row in talk if row["source"] == "opentriviaqa"] == [["What is the color of the sun?",
                                                                                  "The color of the sun is yellow."]]
    assert "fuck" not in json.dumps(talk)
    assert "all" in capsys.readouterr().out


def test_recall_asks_what_can_be_asked_first():
    asked = recall.questions(50)
    assert len(asked) == len({question for question, _ in asked}) == 50
    assert all(answers and "{" not in question + "".join(answers) for question, answers in asked)
    assert not {"Why?", "Tell me more."} & {question for question, _ in recall.questions(10_000)}
