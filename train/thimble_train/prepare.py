"""Writes the training text: what the sources, the manners, the lessons and the teacher give, and the held-out part of each."""

import gzip
import json
from collections import Counter
from pathlib import Path

from . import lessons, manners, teacher
from .clean import is_held_out
from .dialogues import conversations
from .sources import prose

LONGER = 40_000  # conversations about manners with more than one exchange


def prepare(data, work, longer=LONGER, quotas=lessons.QUOTAS):
    """Writes WORK/{prose,conversations}.jsonl.gz and WORK/{prose,conversations}-held-out.jsonl.gz from the folder DATA.

    One row in a hundred is held out, by the hash of its text. Prints rows and characters by source. `longer` says how
    many conversations about manners have more than one exchange, `quotas` how many rows there are of each lesson.
    """
    work = Path(work)
    work.mkdir(parents=True, exist_ok=True)
    write(work, "prose", prose(data))
    write(work, "conversations", talk(data, longer, quotas))


def talk(data, longer, quotas):
    """Every conversation: found, hand-written, made by rules, written by the teacher."""
    yield from conversations(data)
    yield from manners.conversations(manners.load(), longer)
    yield from lessons.conversations(data, quotas)
    yield from teacher.conversations()


def write(work, name, found):
    """Writes the rows of `found` to WORK/NAME.jsonl.gz or, when held out, to WORK/NAME-held-out.jsonl.gz."""
    counts, characters, held = Counter(), Counter(), Counter()
    with open_text(work / f"{name}.jsonl.gz") as train, open_text(work / f"{name}-held-out.jsonl.gz") as held_out:
        for row in found:
            text = row.get("text") or "\n".join(row["turns"])
            out = is_held_out(text)
            (held_out if out else train).write(json.dumps(row, ensure_ascii=True) + "\n")
            counts[row["source"]] += 1
            held[row["source"]] += out
            characters[row["source"]] += len(text)
    for source in [*counts, None]:
        label, of = (source, lambda c: c[source]) if source else ("all", lambda c: sum(c.values()))
        print(f"{name:14} {label:20} {of(counts):8,} rows ({of(held):,} held out) {of(characters):12,} characters",
              flush=True)


def open_text(path):
    """`path` open for writing gzipped text."""
    return gzip.open(path, "wt", encoding="utf-8", compresslevel=6)
