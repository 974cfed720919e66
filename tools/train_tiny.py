"""Trains the tiny models that show that calibration works, on public-domain stories; CPU, a few minutes each.

    python tools/train_tiny.py DATA [ssmoelm] [mtlm1]     (no name: both)

DATA holds classic-books.jsonl.gz (lines with `path` and `text`) and childrens-stories.jsonl.gz (`source`, `text`).
Writes models/trained-ssmoelm/ and models/trained-mtlm1/, but not their README.md. Seeded: with the same versions and
number of threads a second run gives the same weights.
"""

import math
import shutil
import sys
import time
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from references import vocabularies
from references.mtlm1 import write_tokenizer_config
from training import mtlm1, ssmoelm, stories

MODELS = Path(__file__).resolve().parent.parent / "models"
ROWS, LENGTH = 8, 128
STEPS = {"ssmoelm": 2000, "mtlm1": 2500}
LEARNING_RATE, WARM_UP = 4e-3, 100


def main(data, names):
    torch.set_num_threads(1)
    lines = stories.paragraphs(Path(data))
    print(f"{len(lines)} paragraphs, {sum(map(len, lines))} characters")
    for name in names or STEPS:
        family = {"ssmoelm": ssmoelm, "mtlm1": mtlm1}[name]
        folder = MODELS / f"trained-{name}"
        folder.mkdir(exist_ok=True)
        tokenizer = write_tokenizer(name, lines, folder)
        stream = stories.token_stream(tokenizer, lines, family.BOS)
        # The last fiftieth is for judging only.
        cut = len(stream) * 49 // 50
        weights = train(family, stream[:cut], STEPS[name])
        with torch.no_grad():
            held_out = loss(family, weights, *next(stories.batches(stream[cut:], 5, 64, LENGTH)))[0]
        print(f"{name}: {len(stream)} tokens of text, {STEPS[name] * ROWS * LENGTH} read; held out {held_out:.3f}")
        family.write(weights, folder)


def write_tokenizer(name, lines, folder):
    """Trains the family's kind of tokenizer on the text, writes its files and returns it."""
    text = {"text": lines, "size": stories.VOCAB_SIZE, "alphabet": 64}
    if name == "ssmoelm":
        tokenizer = vocabularies.ssmoelm(**text)
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        return tokenizer
    (folder / "tokenizer.json").write_text(vocabularies.mistral(**text) + "\n")
    write_tokenizer_config(folder)
    return vocabularies.Tokenizer.from_file(str(folder / "tokenizer.json"))


def train(family, stream, steps):
    """The parameters after so many steps of AdamW."""
    torch.manual_seed(1)
    weights = {name: tensor.requires_grad_() for name, tensor in family.parameters().items()}
    matrices = [w for w in weights.values() if w.dim() == 2]
    vectors = [w for w in weights.values() if w.dim() == 1]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.95))
    start, batches = time.time(), stories.batches(stream, 7, ROWS, LENGTH)
    for step in range(steps):
        cosine = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1, (step + 1) / WARM_UP) * (0.02 + 0.98 * cosine)
        text, balance = loss(family, weights, *next(batches))
        optimizer.zero_grad()
        (text + balance).backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        if step % 100 == 0 or step + 1 == steps:
            print(f"step {step}: {text.item():.3f} nats per token, {time.time() - start:.0f} s", flush=True)
    return {name: w.detach() for name, w in weights.items()}


def loss(family, weights, inputs, targets):
    """(nats per token, what else is to be small)"""
    logits, balance = family.logits(weights, inputs)
    return cross_entropy(logits.flatten(0, 1), targets.flatten()), balance


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
