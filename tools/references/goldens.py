"""Writes the tiny checkpoints of the families in this folder, and golden files of their logits."""

import numpy as np
import torch
from safetensors.numpy import save_file

from references import metis, mixtral, moa, mtlm1, ssmoelm, twins
from references.common import Choices
from tiny_models import VOCAB_SIZE

FAMILIES = (mixtral, metis, ssmoelm, mtlm1, moa)
# A prefill of the second sequence is cut into chunks of 32.
LENGTHS = (9, 70)


def write_family(family, models, goldens):
    """For each checkpoint of `family`: its folder in `models`, its golden file in `goldens`."""
    for name in family.CHECKPOINTS:
        folder, choices = models / name, Choices()
        family.write_checkpoint(name, folder)

        twin = twins.TWINS[family](folder)

        def logits_of(ids):
            logits = family.logits(folder, ids, choices).float().numpy()
            theirs = by(twin)(ids) if isinstance(twin, torch.nn.Module) else twin(ids)
            compare(name, logits, theirs)
            return theirs if family is mixtral and mixtral.is_stock(name) else logits

        write_logits(goldens / f"{name}.safetensors", logits_of, LENGTHS)
        size = sum(path.stat().st_size for path in folder.iterdir())
        assert size <= 200 * 1024, f"{name}: {size} bytes; make it narrower"
        if choices.gaps:
            print(f"  {len(choices.gaps)} choices of experts or paths, {choices.moved} changed by a bias", end=", ")
            print(f"the narrowest by {min(choices.gaps):.1e}")
            assert min(choices.gaps) > 1e-3, f"{name}: an expert is chosen by a hair; take another seed"
            assert choices.moved or family is not metis, f"{name}: the bias changes nothing; take another seed"


def compare(name, logits, theirs):
    error = float(np.abs(theirs - logits).max() / np.abs(theirs).max())
    print(f"  {name}: formulas against their twin, largest relative difference {error:.1e}")
    assert error < 1e-5, error


def by(model):
    """ids [n] to logits [n, vocab], by a model of transformers."""
    return lambda ids: model.eval()(torch.tensor(ids[None].astype(np.int64))).logits[0].numpy()


def write_logits(path, logits_of, lengths):
    """Writes two random sequences and their logits; returns [(ids [n], logits [n, vocab])]."""
    rng = np.random.default_rng(17)
    sequences = []
    for length in lengths:
        ids = rng.integers(0, VOCAB_SIZE, length).astype(np.int32)
        with torch.no_grad():
            logits = logits_of(ids)
        assert logits.dtype == np.float32 and logits.shape == (length, VOCAB_SIZE)
        sequences.append((ids, logits))
    arrays = {f"ids_{i}": ids for i, (ids, _) in enumerate(sequences)}
    arrays |= {f"logits_{i}": np.ascontiguousarray(logits) for i, (_, logits) in enumerate(sequences)}
    save_file(arrays, path)
    path.chmod(0o644)
    print(f"{path.stem}: logits spread (standard deviation) {sequences[1][1].std():.2f}")
    return sequences
