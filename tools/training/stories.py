"""The text that the trained tiny models learn from, and their tokenizers."""

import gzip
import json
import re

import numpy as np
import torch

# classic-books: novels for children, all of them in the public domain.
BOOKS = [
    "Gertrude Chandler Warner/The Boxcar Children", "Hugh Lofting/The Story of Doctor Dolittle",
    "Frances Hodgson Burnett/The Secret Garden", "Frances Hodgson Burnett/A Little Princess",
    "J. M. Barrie/Peter Pan", "Kenneth Grahame/The Wind in the Willows", "Edith Nesbit/The Railway Children",
    "Edith Nesbit/Five Children and It", "L. Frank Baum/The Wonderful Wizard of Oz", "L. Frank Baum/Ozma of Oz",
    "L. Frank Baum/The Marvelous Land of Oz", "L. Frank Baum/Dorothy and the Wizard in Oz",
]
VOCAB_SIZE = 1024
TYPOGRAPHY = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "—": "-", "–": "-", "_": None, "*": None})


def paragraphs(data):
    """The paragraphs of the books and of Aesop's fables in the folder `data`, each on one line of plain ASCII."""
    texts = []
    for row in rows(data / "classic-books.jsonl.gz"):
        if row["path"].removesuffix(".md") in BOOKS:
            texts.append(row["text"].partition("-------")[2])
    assert len(texts) == len(BOOKS), "a book is missing"
    texts += [row["text"] for row in rows(data / "childrens-stories.jsonl.gz") if row["source"] == "aesop-children"]
    lines = (" ".join(part.split()) for text in texts for part in re.split(r"\n\s*\n", text.translate(TYPOGRAPHY)))
    return [line for line in lines if line.isascii() and len(line) > 20 and not line.startswith("#")]


def rows(path):
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def token_stream(tokenizer, lines, bos):
    """Ids [n] of all lines, those of about a thousand characters together and `bos` before them."""
    stream, text = [], ""
    for line in lines:
        text += " " + line if text else line
        if len(text) > 1000:
            stream += [bos, *tokenizer.encode(text, add_special_tokens=False).ids]
            text = ""
    return np.array(stream, dtype=np.int64)


def batches(stream, seed, rows, length):
    """Endless (inputs, targets), both [rows, length], from anywhere in the stream."""
    rng = np.random.default_rng(seed)
    while True:
        starts = rng.integers(0, len(stream) - length - 1, rows)
        ids = torch.tensor(np.stack([stream[start:start + length + 1] for start in starts]))
        yield ids[:, :-1], ids[:, 1:]
