"""Plain English out of found text: normalised characters, filters, near-duplicates, the held-out split."""

import html
import re
import zlib

# A tiny model pays for every rare character with tokens it could have spent on words, so all of these become ASCII.
CHARACTERS = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201b": "'", "\u2032": "'", "\u00b4": "'", "`": "'",
    "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u2033": '"', "\u00ab": '"', "\u00bb": '"',
    "\u2010": "-", "\u2011": "-", "\u2012": "-", "\u2212": "-", "\u2013": " - ", "\u2014": " - ", "\u2015": " - ",
    "\u2026": "...", "\u2022": "-", "\u00d7": "x", "\ufb01": "fi", "\ufb02": "fl", "\u0153": "oe", "\u00e6": "ae",
    "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u3000": " ", "\u200b": "", "\ufeff": "", "\u00ad": "", "\t": " ",
})
ACCENTS = str.maketrans("àâäáãåçèéêëìíîïñòóôöõùúûüýÀÂÄÁÃÅÇÈÉÊËÌÍÎÏÑÒÓÔÖÕÙÚÛÜ",
                        "aaaaaaceeeeiiiinooooouuuuyAAAAAACEEEEIIIINOOOOOUUUU")

MARKUP = [
    (re.compile(r"<[a-zA-Z/][^<>\n]{0,80}>"), ""),  # tags
    (re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)"), r"\1"),  # links and images keep their words
    (re.compile(r"\[\d+\]"), ""),  # footnote marks
    (re.compile(r"(\*{1,3}|_{1,3})(?=\S)([^*_\n]+?)(?<=\S)\1"), r"\2"),  # emphasis
    (re.compile(r"^#{1,6} *", re.M), ""),
]
SPACES = [
    (re.compile(r"[ \f\v]+"), " "),
    (re.compile(r"([!?])\1+"), r"\1"),
    (re.compile(r" ?\n ?"), "\n"),
    (re.compile(r"\n{3,}"), "\n\n"),
    (re.compile(r"(?<=\w) +(?=[,;:?!](?:\s|$))|(?<=\w) +(?=\.(?:\s|$))"), ""),  # a blank before punctuation
    (re.compile(r"(?<=[^\s-]) ?--+ ?(?=[^\s-])"), " - "),
    (re.compile(r"(\. ){2,}\.|\.{4,}"), "..."),
]


def normalise(text):
    """`text` with ASCII quotes, dashes and blanks, LF line ends, and without markup or entities."""
    text = html.unescape(text).replace("\r\n", "\n").replace("\r", "\n")
    text = text.translate(CHARACTERS).translate(ACCENTS)
    for pattern, replacement in MARKUP + SPACES:
        text = pattern.sub(replacement, text)
    return text.strip()


NOT_PROSE = re.compile(
    r"https?:|www\.|\.(?:com|org|net|edu)\b|@\w|[{}|<>\\^~=]|\$\d|\bISBN\b|[\[\]]|\(\)|[_*#]{2}|;\s*;|\S{25,}|"
    r"[a-z]{19,}"
)
WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")


def is_plain(text):
    """Whether `text` is a passage of ordinary English sentences: no address, code, table, list or formula."""
    if not text or NOT_PROSE.search(text):
        return False
    count = len(text)
    letters = sum(c.isascii() and c.isalpha() for c in text)
    blanks = sum(c.isspace() for c in text)
    if letters + blanks < 0.88 * count - 4 or any(ord(c) > 126 for c in text):
        return False
    digits = sum(c.isdigit() for c in text)
    capitals = sum(c.isupper() for c in text)
    if digits > 0.06 * count or capitals > 0.15 * letters + 3:
        return False
    quotes = text.count('"') % 2 == 0
    brackets = text.count("(") == text.count(")")
    return quotes and brackets


def is_prose(text):
    """Whether `text` is plain, starts as a sentence does and ends as one does."""
    return is_plain(text) and bool(re.match(r'["\'(]?[A-Z0-9]', text)) and bool(re.search(r'[.!?]["\')]?$', text))


def words(text):
    """The words of `text` in lower case, a list."""
    return WORD.findall(text.lower())


# Stems of what a friendly page should not have been taught to say.
RUDE = re.compile(
    r"\b(?:f+u+c*k\w*|\w*shit\w*|bitch\w*|bastards?|cunts?|dick(?:s|head)?|cocks?|puss(?:y|ies)|ass(?:es|hole\w*)?|"
    r"whor\w+|"
    r"sluts?|nigg\w+|negro\w*|fag(?:s|got\w*)?|retard\w*|rap(?:e|ed|es|ist\w*|ing)|porn\w*|sex\w*|nud(?:e|es|ity)|"
    r"penis\w*|vagina\w*|"
    r"boobs?|tits?|horny|orgasm\w*|damn\w*|crap\w*|piss\w*|hell|nazi\w*|hitler|suicid\w*|jews?|jewish|kike\w*|"
    r"gyps(?:y|ies)|savages?|"
    r"darky|darkies|coons?|squaws?|chinam[ae]n|japs?|mturk\w*|turkers?|cocaine|heroin|meth|molest\w*)\b", re.I
)


def is_rude(text):
    """Whether `text` has profanity, a slur or talk of sex: found dialogues and old books have all of these."""
    return bool(RUDE.search(text))


class Duplicates:
    """Remembers what it was shown: exact copies, and passages that share most of their runs of five words."""

    def __init__(self, share=0.4):
        self.share = share
        self.texts = set()
        self.shingles = set()

    def seen(self, text, near=True):
        """Whether `text` was shown before, then remembers it. With `near`, also whether a near copy was."""
        parts = words(text)
        whole = hash_of(" ".join(parts) + str(re.findall(r"\d+", text)))
        if whole in self.texts:
            return True
        self.texts.add(whole)
        if not near or len(parts) < 12:
            return False
        runs = {hash_of(" ".join(parts[i:i + 5])) for i in range(len(parts) - 4)}
        runs = {run for run in runs
                if run % 4 == 0} or runs  # a quarter of them says as much in a quarter of the memory
        if len(runs & self.shingles) > self.share * len(runs):
            return True
        self.shingles |= runs
        return False


def hash_of(text):
    """A hash of `text`, 64 bits, the same in every run and on every machine."""
    data = text.encode()
    return zlib.crc32(data) << 32 | zlib.adler32(data)


def is_held_out(text, one_in=100):
    """Whether `text` belongs to the held-out split: decided by its own hash, so more data moves nothing over."""
    return zlib.crc32(text.encode()) % one_in == 0
