"""Texts as token ids, kept as 16-bit numbers, and the rows that a step reads."""

import gzip
import itertools
import json
import random

import numpy as np
import torch
from tokenizers import Tokenizer

from thimble_train import tokenizer as tok

PROSE = ("childrens-stories", "classic-books", "onestopenglish", "openstax", "wordset", "world-factbook")
FOUND = ("dolly-15k", "opentriviaqa", "self-dialogue", "small-talk-friendly", "topical-chat")
MADE = ("lessons", "manners", "joined")
TEACHER = ("smollm2-teacher",)
# What visitors do, and no source: they go from one thing to another.
JOINED = ("dolly-15k", "lessons", "manners", "small-talk-friendly", "smollm2-teacher")

# How often each source is read in one pass over the mixture; one that is not named, never.
PRETRAIN = dict.fromkeys(PROSE + FOUND + MADE + TEACHER, 1) | {
    "classic-books": 0.25, "openstax": 0.5, "world-factbook": 0.5, "opentriviaqa": 0.25, "lessons": 0.5, "manners": 0.5, "joined": 0.25,
    "childrens-stories": 3, "onestopenglish": 2, "dolly-15k": 2, "self-dialogue": 2,
}
# Some prose is among it, for what is no longer read is forgotten.
FINETUNE = {
    "manners": 1, "joined": 0.5, "lessons": 0.4, "smollm2-teacher": 0.15, "dolly-15k": 0.5, "small-talk-friendly": 4,
    "self-dialogue": 0.3, "topical-chat": 0.3, "opentriviaqa": 0.1, "childrens-stories": 1.5, "onestopenglish": 1, "wordset": 1,
    "classic-books": 0.06, "openstax": 0.15,
}
# What the held-out loss is told apart by. Made conversations are alike, so theirs says less than that of found ones.
KINDS = {"prose": PROSE, "found": FOUND, "made": MADE, "teacher": TEACHER}


def rows_of(work, name):
    """The JSON objects of the file of lines `name` in the folder `work`, gzipped or not; none if it is not there."""
    for path, opened in ((work / f"{name}.jsonl.gz", gzip.open), (work / f"{name}.jsonl", open)):
        if path.exists():
            with opened(path, "rt") as file:
                return [json.loads(line) for line in file]
    return []


def text_of(row):
    """What is read of a row: prose after <bos>, a conversation in the chat template."""
    return tok.chat_text(row["turns"]) if "turns" in row else f"<bos>{row['text']}<eos>"


class Documents:
    """Token ids of many documents: `ids` [tokens], document i being ids[bounds[i]:bounds[i + 1]], its source sources[i].

    `own` [tokens] is what a document is there to teach: all of a text, of a conversation what the assistant says.
    """

    def __init__(self, ids, own, bounds, sources, names):
        self.ids, self.own, self.bounds, self.sources, self.names = ids, own, bounds, sources, names

    @classmethod
    def encode(cls, tokenizer, rows):
        encoded = tokenizer.encode_batch([text_of(row) for row in rows], add_special_tokens=False)
        documents = [one.ids for one in encoded]
        own = [tok.answers(ids) if "turns" in row else [True] * len(ids) for row, ids in zip(rows, documents)]
        lengths = [len(ids) for ids in documents]
        names = sorted({row["source"] for row in rows})
        return cls(
            np.fromiter(itertools.chain.from_iterable(documents), np.uint16, sum(lengths)),
            np.fromiter(itertools.chain.from_iterable(own), bool, sum(lengths)),
            np.concatenate(([0], np.cumsum(lengths))),
            np.array([names.index(row["source"]) for row in rows], np.uint16),
            names,
        )

    def save(self, path):
        np.savez_compressed(path, ids=self.ids, own=self.own, bounds=self.bounds, sources=self.sources,
                            names=np.array(self.names))

    @classmethod
    def load(cls, path):
        with np.load(path) as file:
            return cls(*(file[part] for part in ("ids", "own", "bounds", "sources")), file["names"].tolist())

    def tokens_by_source(self):
        lengths = np.diff(self.bounds)
        return {name: int(lengths[self.sources == i].sum()) for i, name in enumerate(self.names)}

    def shuffled(self, rng, repeats):
        """Numbers of documents in random order, each as often as `repeats` says of its source (a part: by chance)."""
        often = np.array([repeats.get(name, 0) for name in self.names])[self.sources]
        times = np.floor(often + rng.random(len(often))).astype(int)
        return rng.permutation(np.repeat(np.arange(len(often)), times))

    def rows(self, seed, repeats, rows, length, own_only):
        """Endless (ids [rows, length + 1], weight [rows, length]), documents one after another, none cut at its front.

        The weight is 1 where a token is to be predicted: everywhere, or where it is a document's `own`.
        """
        if not any(repeats.get(name) for name in self.names):
            raise ValueError(f"of {', '.join(self.names)} nothing is to be read")
        rng = np.random.default_rng(seed)
        n = rows * length
        starts = np.arange(rows)[:, None] * length
        ids, own = np.empty(0, np.uint16), np.empty(0, bool)
        while True:
            places = [np.arange(*self.bounds[number:number + 2]) for number in self.shuffled(rng, repeats)]
            places = np.concatenate(places)
            ids, own = np.concatenate((ids, self.ids[places])), np.concatenate((own, self.own[places]))
            # The token after the last one of a batch is only predicted; the next batch begins with it.
            while len(ids) > n:
                weight = own[1:n + 1].reshape(rows, length) if own_only else np.ones((rows, length))
                yield (
                    torch.from_numpy(ids[starts + np.arange(length + 1)].astype(np.int64)),
                    torch.from_numpy(weight.astype(np.float32)),
                )
                ids, own = ids[n:], own[n:]


def joined_conversations(rows, share=0.15, longest=600, seed=0):
    """Conversations of two or three that have nothing to do with one another, so many for each row that may be joined.
    Without them a model takes every question for one about what was said before."""
    draw = random.Random(seed)
    short = [row["turns"] for row in rows if row["source"] in JOINED and sum(map(len, row["turns"])) <= longest]
    for _ in range(int(share * len(short))):
        parts = draw.sample(short, min(len(short), draw.choice((2, 2, 3))))
        yield {"source": "joined", "turns": [turn for part in parts for turn in part]}


def encode(config, work):
    """Trains the tokenizer on the texts of the folder `work` and writes tokenizer.json, train.npz and held-out.npz."""
    rows = [row for name in ("prose", "conversations") for row in rows_of(work, name)]
    rows += joined_conversations(rows)
    path = work / "tokenizer.json"
    if path.exists():
        tokenizer = Tokenizer.from_file(str(path))
    else:
        tokenizer = tok.train((text for row in rows for text in row.get("turns") or [row["text"]]), config.vocab_size)
        tokenizer.save(str(path), pretty=False)
    held_out = [row for name in ("prose-held-out", "conversations-held-out") for row in rows_of(work, name)]
    for name, part in (("train", rows), ("held-out", held_out)):
        documents = Documents.encode(tokenizer, part)
        documents.save(work / f"{name}.npz")
        print(name, documents.tokens_by_source())
