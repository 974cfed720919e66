"""The two stages of training: reading everything at a steady rate that falls towards the end, then conversations and
some prose.

A stage may be stopped at any time (SIGTERM, a full time limit) and goes on from its checkpoint.
"""

import csv
import ctypes
import math
import signal
import time
from pathlib import Path

import torch

from thimble_train import checkpoint
from thimble_train.batches import FINETUNE, KINDS, PRETRAIN, Documents
from thimble_train.loss import text_loss
from thimble_train.model import Model

# Batches that the held-out loss is the mean of.
HELD_OUT_BATCHES = 2
CHECKPOINT_SECONDS = 480


class Optimizers:
    """Muon for the matrices of layers, AdamW for the rest (Muon: kellerjordan.github.io/posts/muon; its steps scaled
    to AdamW's as in arXiv 2502.16982, so that both have one learning rate)."""

    def __init__(self, model, config):
        def is_inner(name, p):
            return p.dim() == 2 and "router" not in name and not name.startswith("embed")

        inner = [p for name, p in model.named_parameters() if is_inner(name, p)]
        rest = [p for name, p in model.named_parameters() if not is_inner(name, p)]
        self.all = (
            torch.optim.Muon(
                inner, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw",
            ),
            torch.optim.AdamW(rest, lr=config.learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
        )

    def step(self, rate):
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad()

    def state(self):
        return [optimizer.state_dict() for optimizer in self.all]

    def restore(self, states):
        for optimizer, state in zip(self.all, states):
            optimizer.load_state_dict(state)


def is_rounded(stage, state, config):
    """Whether the forward pass goes through rounded weights: from a point of pretraining on."""
    return stage == "finetune" or state["tokens"] >= config.float_share * config.pretrain_tokens


def rate_at(stage, tokens, step, config):
    """Warmed up, steady, falling at the end of pretraining, and straight down to nothing in finetuning (WSD, arXiv 2404.06395)."""
    if stage == "finetune":
        share = config.finetune_rate * (1 - tokens / config.finetune_tokens)
    else:
        left = (1 - tokens / config.pretrain_tokens) / config.decay_share
        share = config.finetune_rate + (1 - config.finetune_rate) * min(1, left)
        share *= min(1, (step + 1) / config.warm_up_steps)
    return config.learning_rate * max(0.0, share)


def step(model, optimizers, batch, quantised, rate, balance_weight):
    """One step on a batch (ids, weight): (its loss in nats per token, experts' shares [layers, experts])."""
    text, balance, shares = text_loss(model, *batch, quantised, torch.bfloat16)
    (text + balance_weight * balance).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizers.step(rate)
    return text.item(), shares


def run(stage, config, work, minutes=math.inf, origin=None, device=None):
    """Trains `stage` ("pretrain" or "finetune") in the folder `work` until its tokens are read or the minutes are over.

    Pretraining begins with the weights of the packed file `origin`, if there is one, instead of with chance.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cpu":
        keep_what_is_freed()
    work = Path(work)
    torch.manual_seed(1)
    model = Model(config).to(device)
    optimizers = Optimizers(model, config)
    state = begin(stage, model, optimizers, work, origin)
    repeats, goal = (PRETRAIN, config.pretrain_tokens) if stage == "pretrain" else (FINETUNE, config.finetune_tokens)
    data = {name: Documents.load(work / f"{name}.npz") for name in ("train", "held-out")}
    # Finetuning reads rows of the whole context, so that late positions are known too.
    length = config.length if stage == "pretrain" else config.context
    rows = config.rows * config.length // length
    batches = data["train"].rows(state["seed"], repeats, rows, length, stage == "finetune")
    stopped, start, saved = stop_signal(), time.time(), time.time()
    mean, since = None, state["tokens"]

    def keep():
        report(stage, config, model, data["held-out"], state, mean, work, device)
        checkpoint.save(work / f"{stage}.pt", config, model, optimizers, state)

    while state["tokens"] < goal and not stopped and time.time() - start < 60 * minutes:
        if time.time() - saved > CHECKPOINT_SECONDS:
            keep()
            saved = time.time()
        batch = [part.to(device) for part in next(batches)]
        rate = rate_at(stage, state["tokens"], state["step"], config)
        loss, shares = step(model, optimizers, batch, is_rounded(stage, state, config), rate, config.balance)
        state["step"] += 1
        state["tokens"] += batch[1].numel()
        mean = loss if mean is None else 0.98 * mean + 0.02 * loss
        if state["step"] % 10 == 0:
            speed = (state["tokens"] - since) / (time.time() - start)
            print(f"{stage} step {state['step']}: {state['tokens']} tokens, {mean:.3f} nats, {speed:.0f} tokens/s, "
                  f"experts' shares {shares.min():.2f} to {shares.max():.2f}", flush=True)
    # Another run reads other batches.
    state["seed"] += 1
    keep()
    return state["tokens"] >= goal


def keep_what_is_freed():
    """Has glibc keep the memory of large tensors for the next step, instead of giving it back to the system and clearing it
    anew: a third of the time went there. Where the C library is another, nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        trim_threshold, most_mappings, most_arenas = -1, -4, -8  # as in malloc.h
        mallopt(trim_threshold, -1)
        mallopt(most_mappings, 0)
        mallopt(most_arenas, 1)


def begin(stage, model, optimizers, work, origin):
    """Restores the stage's checkpoint, that of the stage before it or the packed file `origin`, whichever is there first,
    and returns where the stage stands."""
    fresh = {"step": 0, "tokens": 0, "seed": 1}
    own, before = work / f"{stage}.pt", work / "pretrain.pt"
    path = own if own.exists() else before
    if not path.exists():
        if stage == "finetune":
            raise SystemExit(f"{before} is not there: run pretrain first")
        if origin:
            model.load_state_dict(checkpoint.read_back(origin, model.config).state_dict())
        return fresh
    found = checkpoint.load(path)
    model.load_state_dict(found["model"])
    optimizers.restore(found["optimizers"])
    return found["state"] if path == own else fresh


@torch.no_grad()
def held_out_losses(config, model, documents, quantised, device):
    """Mean nats per token of each kind of held-out text; of conversations, the assistant's tokens alone."""
    losses = {}
    for kind, sources in KINDS.items():
        if not set(sources) & set(documents.names):
            continue
        batches = documents.rows(7, dict.fromkeys(sources, 1), config.rows, config.length, True)
        total, n = 0.0, 0.0
        for _ in range(HELD_OUT_BATCHES):
            ids, weight = (part.to(device) for part in next(batches))
            mean, _, _ = text_loss(model, ids, weight, quantised)
            total, n = total + mean.item() * weight.sum().item(), n + weight.sum().item()
        losses[kind] = total / n
    return losses


def report(stage, config, model, documents, state, training, work, device):
    """Adds a line to curves.csv: held-out losses in nats per token; `training` None: no step was made."""
    if training is None:
        return
    quantised = is_rounded(stage, state, config)
    losses = held_out_losses(config, model, documents, quantised, device)
    path = work / "curves.csv"
    is_new = not path.exists()
    with open(path, "a", newline="") as file:
        lines = csv.writer(file)
        if is_new:
            lines.writerow(["stage", "step", "tokens", "quantised", "training", *losses])
        lines.writerow([stage, state["step"], state["tokens"], int(quantised)]
                       + [f"{loss:.4f}" for loss in (training, *losses.values())])
    print(f"{stage}: held out " + ", ".join(f"{loss:.3f} {kind}" for kind, loss in losses.items()), flush=True)


def stop_signal():
    """A list that SIGTERM or SIGINT puts something into."""
    heard = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: heard.append(True))
    return heard
