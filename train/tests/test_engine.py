"""What is trained and exported, in the engine: the same logits on the CPU and on the GPU.

THIMBLE is the path of the program `thimble` (`cargo build --bin thimble`).
"""

import json
import os
import subprocess

import pytest
import torch
from tokenizers import Tokenizer

from thimble_train import tokenizer as tok
from thimble_train.checkpoint import load_model
from thimble_train.export import export

PROMPTS = ["Where is the cat?", "The dog lives in the", "fox"]


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_the_engine_gives_the_trainers_logits(work, backend):
    thimble = os.environ.get("THIMBLE")
    assert thimble, "THIMBLE is not set: the path of the program, after `cargo build --bin thimble`"
    folder = work / "for-the-engine"
    export(work / "finetune.pt", work / "tokenizer.json", folder)
    tokenizer, model = Tokenizer.from_file(str(work / "tokenizer.json")), load_model(work / "finetune.pt")
    for text in PROMPTS:
        ids = tokenizer.encode(tok.chat_text([text]), add_special_tokens=False).ids
        with torch.no_grad():
            want = model.logits(torch.tensor([ids]))[0, -1]
        numbers = subprocess.run(
            [thimble, "logits", folder, ",".join(map(str, ids)), "--backend", backend],
            check=True, capture_output=True, text=True,
        ).stdout
        got = torch.tensor(json.loads(numbers))
        # Routers and norms are half floats in the file.
        error = ((got - want).square().mean() / want.square().mean()).item()
        assert error < 1e-5, f"{text}: normalised mean squared error {error:.1e}"
