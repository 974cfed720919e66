"""A folder after both stages of training, of the tiny size on made-up text."""

import json
import random

import pytest
import torch

from thimble_train.batches import encode
from thimble_train.config import SIZES
from thimble_train.train import run


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """A folder after both stages of training."""
    torch.set_num_threads(2)
    folder = tmp_path_factory.mktemp("work")
    rng = random.Random(1)
    animals, places = ["cat", "dog", "hen", "fox", "cow"], ["house", "garden", "river", "forest", "field"]
    for name, n in (("", 300), ("-held-out", 30)):
        def pick():
            return rng.choice(animals), rng.choice(places)
        prose = [{"source": "childrens-stories", "text": "The %s lives in the %s. It is happy there." % pick()} for _ in range(n)]
        talks = [{"source": "lessons", "turns": [f"Where is the {a}?", f"The {a} is in the {p}."]}
                 for a, p in (pick() for _ in range(n))]
        for kind, rows in (("prose", prose), ("conversations", talks)):
            (folder / f"{kind}{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    encode(SIZES["tiny"], folder)
    assert run("pretrain", SIZES["tiny"], folder) and run("finetune", SIZES["tiny"], folder)
    return folder
