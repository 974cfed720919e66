"""What the packed model is worth: losses, bits per byte, how busy its experts are, and logits for the engine's tests."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer

from thimble_train import tokenizer as tok
from thimble_train.batches import KINDS, Documents, rows_of, text_of
from thimble_train.checkpoint import load_model, read_back
from thimble_train.model import Mixture
from thimble_train.train import held_out_losses

PROMPTS = [
    "Hello!", "Who are you?", "What is a river?", "Tell me a short story about a dog.", "I feel sad today.",
    "What is the capital of France?", "Why is the sky blue?", "Give me three tips for sleeping well.",
    "What does the word \"brave\" mean?", "How do I plant a seed?", "What is a volcano?", "What do plants need?",
]
GOLDEN_PROMPTS = 10
# Where the last expert chosen is ahead of the next by less, in probability, another arithmetic may choose otherwise.
NARROW = 5e-6


def evaluate(work, folder, golden):
    """Prints the figures of the model that `export` wrote to `folder`, and writes the file `golden`."""
    work = Path(work)
    trained = load_model(work / "finetune.pt")
    config = trained.config
    stored = read_back(Path(folder) / "model.safetensors", config)
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    held_out = Documents.load(work / "held-out.npz")
    in_training = held_out_losses(config, trained, held_out, True, "cpu")
    in_file = held_out_losses(config, stored, held_out, False, "cpu")
    total, active = config.counts()
    texts = rows_of(work, "prose-held-out") + rows_of(work, "conversations-held-out")
    figures = {
        "parameters": total, "active parameters": active,
        "bytes": (Path(folder) / "model.safetensors").stat().st_size,
        "nats per token, trainer": in_training, "nats per token, file": in_file,
        "perplexity, file": {kind: float(np.exp(loss)) for kind, loss in in_file.items()},
        "bits per byte": {
            kind: loss / np.log(2) * tokens_per_byte(tokenizer, texts, kind) for kind, loss in in_file.items()
        },
    }
    print(json.dumps(figures, indent=2))
    print(load_table(expert_shares(stored, held_out)))
    write_golden(stored, tokenizer, golden)


def tokens_per_byte(tokenizer, rows, kind):
    """Of the texts of a kind among `rows`; of conversations, the assistant's tokens and bytes alone."""
    rows = [row for row in rows if row["source"] in KINDS[kind]]
    encoded = tokenizer.encode_batch([text_of(row) for row in rows], add_special_tokens=False)
    if kind == "prose":
        return sum(len(one.ids) for one in encoded) / sum(len(row["text"].encode()) for row in rows)
    n_bytes = sum(len(turn.encode()) for row in rows for turn in row["turns"][1::2])
    return sum(sum(tok.answers(one.ids)) for one in encoded) / n_bytes


@torch.no_grad()
def expert_shares(model, documents, batches=8):
    """Each expert's share of held-out tokens' choices, [layers, experts]."""
    config = model.config
    rows = documents.rows(7, dict.fromkeys(documents.names, 1), config.rows, config.length, False)
    return torch.stack([model(next(rows)[0], quantised=False)[1] for _ in range(batches)]).mean(0)


def load_table(shares):
    """The card's table: percent by layer and expert, and their coefficient of variation."""
    lines = ["| Layer | " + " | ".join(f"E{e}" for e in range(shares.shape[1])) + " | CV |"]
    lines.append("| --- " * (shares.shape[1] + 2) + "|")
    for number, row in enumerate(shares):
        cv = (row.std(correction=0) / row.mean()).item()
        lines.append(f"| {number} | " + " | ".join(f"{100 * share:.0f}%" for share in row) + f" | {cv:.2f} |")
    return "\n".join(lines)


@torch.no_grad()
def write_golden(model, tokenizer, path):
    """The last logits [1, vocab] of the first GOLDEN_PROMPTS prompts whose experts are chosen clearly, in the chat
    template: ids_i, logits_i."""
    encoded = [tokenizer.encode(tok.chat_text([prompt]), add_special_tokens=False).ids for prompt in PROMPTS]
    clear = [ids for ids in encoded if narrowest_choice(model, ids) > NARROW]
    if len(clear) < GOLDEN_PROMPTS:
        raise SystemExit(f"experts are chosen clearly after {len(clear)} of {len(PROMPTS)} prompts: add some to PROMPTS")
    arrays = {}
    for i, ids in enumerate(clear[:GOLDEN_PROMPTS]):
        arrays[f"ids_{i}"] = np.array(ids, np.int32)
        arrays[f"logits_{i}"] = model.logits(torch.tensor([ids]), quantised=False)[0, -1:].numpy()
    save_file(arrays, path)
    Path(path).chmod(0o644)


@torch.no_grad()
def narrowest_choice(model, ids):
    """By how much the last expert chosen for the last token is ahead of the next one, in probability; the least of all
    layers."""
    leads = []

    def note(mixture, inputs, _):
        best = mixture.router(inputs[0][-1], False).softmax(-1).topk(mixture.top_k + 1).values
        leads.append((best[-2] - best[-1]).item())

    hooks = [module.register_forward_hook(note) for module in model.modules() if isinstance(module, Mixture)]
    model.logits(torch.tensor([ids]), quantised=False)
    for hook in hooks:
        hook.remove()
    return min(leads)


def draw_curves(table, picture):
    """The curves of curves.csv as an SVG or PNG file."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with open(table) as file:
        rows = list(csv.DictReader(file))
    before = 0
    xs, ys = [], {kind: [] for kind in KINDS}
    for i, row in enumerate(rows):
        if i and row["stage"] != rows[i - 1]["stage"]:
            before += int(rows[i - 1]["tokens"])
        xs.append((before + int(row["tokens"])) / 1e6)
        for kind, values in ys.items():
            values.append(float(row[kind] or "nan"))
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for kind, values in ys.items():
        axes.plot(xs, values, label=f"held-out {kind}")
    marked = set()
    for x, row, last in zip(xs, rows[1:], rows):
        for begins, what, line in (
            (row["quantised"] > last["quantised"], "weights rounded", ":"),
            (row["stage"] != last["stage"], "pretraining again" if row["stage"] == "pretrain" else "finetuning", "--"),
        ):
            if begins:
                # A name that begins with an underscore has no line in the legend.
                label = ("_" if what in marked else "") + f"{what} from here"
                axes.axvline(x, color="black" if what.endswith("again") else "grey", linestyle=line, label=label)
                marked.add(what)
    axes.set_xlabel("million tokens read")
    axes.set_ylabel("nats per token")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2)
    figure.savefig(picture, bbox_inches="tight", dpi=120)
