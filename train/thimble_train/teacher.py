"""What SmolLM2 says that words mean, as conversations to train on: short, clean, only what passes the filters."""

import collections
import itertools
import lzma
import json
import re
import time
from pathlib import Path

import torch

from thimble_train import smollm2
from thimble_train.prompts import prompts

SOURCE = "smollm2-teacher"
TEXT = Path(__file__).parent.parent / "data" / "smollm2-teacher.jsonl.xz"
SYSTEM = "You are a kind friend. You answer in one to three short, simple sentences."
# Answers of the wanted kind: a small model follows examples better than orders.
EXAMPLES = [
    "What is a spoon?", "A spoon is a small tool for eating. It has a round end that holds soup.",
    'What does "tiny" mean? (tiny: very small.)', "Tiny means very small. An ant is a tiny animal.",
    "How do I draw a house?", "First draw a square for the walls. Then add a roof, a door and two windows.",
    "Tell me a very short story about a pea.", "A little pea was tired of its pod. One day it rolled out and saw the "
    "sun. It was so happy that it grew into a tall plant.",
    "Thank you!", "You are welcome! I am glad that you liked it.",
    "I dropped my hat in the mud.", "Oh no! Wash it in warm water and let it dry in the sun.",
]
TURN_END = "<|im_end|>"
MAX_TOKENS = 64  # of an answer
MAX_WORDS = 80
TEMPERATURE, TOP_P = 0.5, 0.9
# Prompts at a time: sorted by length, answered in batches, written together.
CHUNK = {"cpu": 768, "cuda": 8192}
BATCH = {"cpu": 256, "cuda": 2048}

TYPOGRAPHY = str.maketrans({"\u201c": '"', "\u201d": '"', "\u2018": "'", "\u2019": "'", "\u2014": " - ", "\u2013": "-",
                            "\u2026": "..."})
ODD = re.compile(r"[^\x20-\x7e\n]|[#*_`|<>{}\[\]\\~^=]|https?:|www\.|[A-Za-z]{17}")
SELF = re.compile(r"\b(AI|A\.I\.|SmolLM\w*|hugging ?face|language model|chatbot|assistant|artificial intelligence|"
                  r"as a (machine|computer|digital)|my (training|programming)|programmed to)\b", re.I)
REFUSAL = re.compile(r"\b(I('m| am) (sorry,? but|unable|not able|afraid I)|"
                     r"I (cannot|can't|can not|could not|couldn't) (\w+ )?"
                     r"(help|assist|provide|answer|write|tell|do|give|fulfil|create)|I (do not|don't) have (personal|"
                     r"feelings|emotions|opinions|preferences|access|the ability|a physical))", re.I)
ECHO = re.compile(r"\b(one to three|short,? simple|simple (sentences?|words|terms)|(one|two|three) sentences?|"
                  r"hint|system prompt|user('s)? (question|prompt|message))\b", re.I)
LEAKED = re.compile(r"\b(spoon|pea|pod|mud)s?\b", re.I)  # from the examples
# Small models say it at any time; it fits thanks and praise alone.
WELCOME = re.compile(r"\b(you're|you are) (very )?welcome\b|\bglad (that )?you\b", re.I)
PRAISE = re.compile(r"\b(thanks?|likes?|nice|good|great|lovely|interesting|happy|enjoy)\b", re.I)
# What explains nothing: "A mistake is a mistake."
CIRCULAR = re.compile(r"\b((?:\w+ )?\w{3,}) (?:is|are|means) (?:an? |the )?\1(?=[.,;!?])", re.I)
ITEM = re.compile(r"^\s*(\d+[.)]|[-+\u2022])\s", re.M)
SENTENCE_END = re.compile(r"""[.!?]["')]*(?=\s|$)""")


def plain_words(text):
    return re.findall(r"[a-z0-9']+", text.lower())


def n_grams(found, n):
    return zip(*(found[i:] for i in range(n)))


# Runs of five words that an answer would have only from the examples; thanks are answered alike everywhere.
TAUGHT = {gram for answer in EXAMPLES[1::2] if not WELCOME.search(answer) for gram in n_grams(plain_words(answer), 5)}


def repeats(text):
    """Whether words come again and again: four in a row twice, three in a row three times, or a sentence twice."""
    found = plain_words(text)
    for n, most in (4, 1), (3, 2), (2, 4):
        if any(count > most for count in collections.Counter(n_grams(found, n)).values()):
            return True
    return len(found) >= 20 and len(set(found)) < 0.5 * len(found)


def cleaned(answer, ended, prompt):
    """The text of an answer in ASCII if it is fit to learn from, or None. One that had not `ended` when its tokens ran
    out is cut after its last full sentence, if two are left."""
    text = re.sub(r"[ \t]+", " ", answer.translate(TYPOGRAPHY)).strip()
    text = re.sub(r" ?\n ?", "\n", re.sub(r"\n{2,}", "\n", text))
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    if not ended:
        if len(ends) < 2:
            return None
        text = text[:ends[-1]]
    if not ends or ends[-1] < len(text) or not re.match(r"""["'(]?[A-Z0-9]""", text):
        return None
    if not 2 <= len(text.split()) <= MAX_WORDS or text.count('"') % 2:
        return None
    if any(pattern.search(text) for pattern in (ODD, SELF, REFUSAL, ECHO, CIRCULAR)):
        return None
    if WELCOME.search(text) and not PRAISE.search(prompt):
        return None
    if LEAKED.search(text) and not LEAKED.search(prompt):
        return None
    if len(ITEM.findall(text)) > 5 or len(ITEM.findall(text)) == 1 or repeats(text):
        return None
    if not TAUGHT.isdisjoint(n_grams(plain_words(text), 5)):
        return None
    same = re.sub(r"\W+", " ", text.lower()).strip()
    asked = re.sub(r"\W+", " ", prompt.lower()).strip()
    return None if same == asked or (len(asked.split()) > 3 and same.startswith(asked)) else text


class Teacher:
    """SmolLM2 that answers conversations in batches."""

    def __init__(self, path, device, seed):
        self.model, self.tokenizer = smollm2.load(path, device)
        self.stop = self.tokenizer.convert_tokens_to_ids(TURN_END)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.draw = smollm2.nucleus(TEMPERATURE, TOP_P, self.generator)
        self.batch = BATCH[device]

    def ids(self, turns):
        """The token ids of a conversation that the teacher is to go on with."""
        roles = itertools.cycle(("user", "assistant"))
        text = f"<|im_start|>system\n{SYSTEM}{TURN_END}\n"
        text += "".join(f"<|im_start|>{role}\n{turn}{TURN_END}\n" for role, turn in zip(roles, EXAMPLES + turns))
        return self.tokenizer.encode(text + "<|im_start|>assistant\n", add_special_tokens=False)

    def answers(self, conversations):
        """The next turn of each conversation (a list of turns that ends with the user's), or None where it is bad."""
        ids = [self.ids(turns) for turns in conversations]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        answers = [None] * len(ids)
        for start in range(0, len(order), self.batch):
            batch = order[start:start + self.batch]
            for i, found in zip(batch, self.model.generate([ids[i] for i in batch], self.stop, MAX_TOKENS, self.draw)):
                ended = found[-1] == self.stop
                text = self.tokenizer.decode(found[:-1] if ended else found)
                answers[i] = cleaned(text, ended, conversations[i][-1])
        return answers

    def converse(self, chunk):
        """Conversations (lists of turns) that begin with the prompts of `chunk`; None where the answer is bad."""
        first = self.answers([[f"{prompt.text} {prompt.hint}".strip()] for prompt in chunk])
        turns = [[prompt.text, answer] if answer else None for prompt, answer in zip(chunk, first)]
        for number in range(max((len(prompt.follow_ups) for prompt in chunk), default=0)):
            longer = [i for i, prompt in enumerate(chunk)
                      if turns[i] and len(turns[i]) == 2 + 2 * number and len(prompt.follow_ups) > number]
            asked = [turns[i] + [chunk[i].follow_ups[number]] for i in longer]
            for i, begun, answer in zip(longer, asked, self.answers(asked)):
                # An answer again in nearly the same words is none; what was said before stands alone.
                if answer and not repeats(" ".join([*begun[1::2], answer])):
                    turns[i] = begun + [answer]
        return turns

    def tokens(self, turns):
        return sum(len(self.tokenizer.encode(answer, add_special_tokens=False)) for answer in turns[1::2])


def conversations(text=TEXT):
    """What was taught and kept: the rows of the packed JSON lines `text`, none twice, what has become unfit left out."""
    seen = set()
    with lzma.open(text, "rt", encoding="utf-8") as file:
        for turns in (json.loads(line)["turns"] for line in file):
            if tuple(turns) not in seen and all(map(is_fit, turns[::2], turns[1::2])):
                seen.add(tuple(turns))
                yield {"source": SOURCE, "turns": turns}


def is_fit(prompt, answer):
    """Whether an answer that is kept still passes the filters."""
    return cleaned(answer, True, prompt) == answer


def teach(model, data, out, n_tokens, seed=1):
    """Appends conversations to the JSON lines `out` until its answers have `n_tokens` tokens. `model` is the GGUF file,
    `data` the folder of dictionaries. May be stopped at any time: started again with the same `seed`, it goes on after
    the last prompt in `out` ("prompt": its number); runs with other seeds belong in other files."""
    out = Path(out)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    done, tokens = 0, 0
    teacher = Teacher(model, device, seed)
    if out.exists():
        with open(out) as file:
            for row in map(json.loads, file):
                done = max(done, row["prompt"] + 1)
                tokens += teacher.tokens(row["turns"])
        teacher.generator.manual_seed(seed + done)
    numbered = itertools.islice(enumerate(prompts(Path(data), seed)), done, None)
    start, before = time.monotonic(), tokens
    while tokens < n_tokens and (chunk := list(itertools.islice(numbered, CHUNK[device]))):
        lines = []
        for (number, _), turns in zip(chunk, teacher.converse([prompt for _, prompt in chunk])):
            if turns:
                tokens += teacher.tokens(turns)
                lines.append(json.dumps({"source": SOURCE, "prompt": number, "turns": turns}) + "\n")
        # One write of whole lines: a run that is stopped leaves no half of a conversation.
        with open(out, "ab", buffering=0) as file:
            file.write("".join(lines).encode())
        rate = (tokens - before) / (time.monotonic() - start)
        print(f"{chunk[-1][0] + 1} prompts, {len(lines)} of the last {len(chunk)} kept, {tokens} tokens, "
              f"{rate:.0f} a second", flush=True)
