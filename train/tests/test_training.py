"""Training, packing and the file, on the tiny size and made-up text."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from thimble_train import tokenizer as tok
from thimble_train.batches import Documents, joined_conversations
from thimble_train.checkpoint import load_model, read_back
from thimble_train.config import SIZES
from thimble_train.export import difference, export, packed_tensors
from thimble_train.loss import text_loss
from thimble_train.model import Model, attention
from thimble_train.quantise import packed, quants, scales, unpacked
from thimble_train.train import held_out_losses, run

TINY = SIZES["tiny"]


def test_the_full_size_has_the_cards_counts():
    assert SIZES["full"].counts() == (47_036_160, 25_802_496)
    parameters = sum(p.numel() for p in Model(TINY).parameters())
    assert parameters == TINY.counts()[0]


def test_training_lowers_the_loss_and_the_file_has_the_same(work):
    held_out = Documents.load(work / "held-out.npz")
    torch.manual_seed(1)
    before = held_out_losses(TINY, Model(TINY), held_out, True, "cpu")
    model = load_model(work / "finetune.pt")
    after = held_out_losses(TINY, model, held_out, True, "cpu")
    assert after["prose"] < before["prose"] - 2 and after["made"] < before["made"] - 2, (before, after)
    export(work / "finetune.pt", work / "tokenizer.json", work / "out")
    stored = held_out_losses(TINY, read_back(work / "out" / "model.safetensors", TINY), held_out, False, "cpu")
    assert stored["made"] == pytest.approx(after["made"], rel=0.005)
    assert difference(work / "finetune.pt", work / "out", torch.arange(40)[None] + 270) < 1e-2
    curves = (work / "curves.csv").read_text().splitlines()
    assert curves[0].startswith("stage,step,tokens") and len(curves) == 3


def test_a_run_that_was_stopped_goes_on(work, tmp_path):
    for name in ("train.npz", "held-out.npz"):
        (tmp_path / name).write_bytes((work / name).read_bytes())
    assert not run("pretrain", TINY, tmp_path, minutes=0)
    assert run("pretrain", TINY, tmp_path)
    with pytest.raises(SystemExit, match="run pretrain first"):
        run("finetune", TINY, tmp_path.parent)


def test_training_may_begin_with_a_packed_file(work, tmp_path):
    for name in ("train.npz", "held-out.npz"):
        (tmp_path / name).write_bytes((work / name).read_bytes())
    export(work / "finetune.pt", work / "tokenizer.json", tmp_path)
    run("pretrain", TINY, tmp_path, minutes=0, origin=tmp_path / "model.safetensors")
    begun, stored = load_model(tmp_path / "pretrain.pt"), read_back(tmp_path / "model.safetensors", TINY)
    assert all(torch.equal(a, b) for a, b in zip(begun.parameters(), stored.parameters()))


@pytest.mark.parametrize("n", [7, 16, 21])
def test_attention_by_blocks_is_causal_attention(n):
    torch.manual_seed(4)
    q, k, v = (torch.randn(2, heads, n, 8, requires_grad=True) for heads in (6, 2, 2))
    ours = attention(q, k, v, block=8)
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn_like(ours)
    gradients = [torch.autograd.grad((y * weight).sum(), (q, k, v)) for y in (ours, theirs)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("bits", [1, 4])
def test_what_is_packed_is_what_was_rounded(bits):
    w = torch.randn(6, 32)
    w[2] = 0
    tensors = {"w" + end: tensor for end, tensor in packed(w, bits).items()}
    scale = scales(w, bits)
    assert torch.equal(unpacked(tensors, "w"), quants(w, scale, bits) * scale)
    n_bytes = sum(t.numel() for name, t in tensors.items() if t.dtype == torch.uint8)
    assert n_bytes == 6 * 32 * bits // 8


def test_bits_are_those_of_the_card():
    tensors = packed_tensors(Model(SIZES["small"]))
    ends = {name.removesuffix("__bin").removesuffix("__int4"): name.rpartition("__")[2] for name in tensors
            if name.endswith(("__bin", "__int4"))}
    assert ends["embed.weight"] == "int4" and ends["layers.2.attn.q_proj.weight"] == "int4"
    assert [ends[f"layers.{i}.attn.v_proj.weight"] for i in range(6)] == ["int4", *["bin"] * 4, "int4"]
    assert ends["layers.0.moe.experts.3.down_proj.weight"] == "bin"
    assert ends["layers.0.moe.shared.down_proj.weight"] == "int4"
    assert tensors["layers.0.moe.router.weight"].dtype == torch.float16


def test_the_heads_loss_is_cross_entropy():
    torch.manual_seed(2)
    model = Model(TINY)
    ids, weight = torch.randint(0, TINY.vocab_size, (3, 21)), (torch.rand(3, 20) < 0.5).float()
    ours, _, _ = text_loss(model, ids, weight, True)
    ours.backward()
    gradient = model.embed.weight.grad.clone()
    model.zero_grad()
    theirs = torch.nn.functional.cross_entropy(
        model.logits(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten(), reduction="none",
    )
    theirs = (theirs * weight.flatten()).sum() / weight.sum()
    theirs.backward()
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient, model.embed.weight.grad)


def test_half_the_bits_give_nearly_the_same_loss_and_gradient():
    torch.manual_seed(2)
    model = Model(TINY)
    ids, weight = torch.randint(0, TINY.vocab_size, (3, 41)), torch.ones(3, 40)
    losses, gradients = [], []
    for kind in (torch.float32, torch.bfloat16):
        loss, _, _ = text_loss(model, ids, weight, True, kind)
        loss.backward()
        losses.append(loss.item())
        gradients.append(model.embed.weight.grad.clone().flatten())
        model.zero_grad()
    assert losses[1] == pytest.approx(losses[0], rel=0.01)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_only_what_the_assistant_says_is_learnt_in_finetuning(work):
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    text = tok.chat_text(["Where is the cat?", "In the house.", "And the <|eot|> dog?", "Here."])
    assert text.count("<|eot|>") == 4, "a special token in a turn is only text"
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    said = [token for token, is_said in zip(ids, tok.answers(ids)) if is_said]
    assert tokenizer.decode(said, skip_special_tokens=False) == "In the house.<|eot|>Here.<|eot|>"


def test_documents_follow_one_another(work):
    documents = Documents.load(work / "train.npz")
    rows = documents.rows(3, {"lessons": 1}, rows=2, length=32, own_only=False)
    (a, _), (b, weight) = next(rows), next(rows)
    assert a.shape == (2, 33) and weight.sum() == 64
    assert a[0, 32] == a[1, 0] and a[1, 32] == b[0, 0]
    assert a[0, 0] == tok.BOS and tok.ASSISTANT in a
    assert np.all(np.diff(documents.bounds) > 0)


def test_some_conversations_go_from_one_thing_to_another():
    rows = [{"source": "lessons", "turns": [f"Question {i}?", f"Answer {i}."]} for i in range(40)]
    others = [{"source": "lessons", "turns": ["Too long?", "x" * 600]}, {"source": "self-dialogue", "turns": ["a", "b"]},
              {"source": "wordset", "text": "a text"}]
    found = list(joined_conversations(rows + others, share=0.5))
    assert len(found) == 20 and {len(row["turns"]) for row in found} == {4, 6}
    for row in found:
        assert row["source"] == "joined"
        numbers = [turn.rstrip("?.").split()[1] for turn in row["turns"]]
        assert numbers[::2] == numbers[1::2] and len(set(numbers)) == len(numbers) // 2, "whole, and each once"


def test_what_is_learnt_of_a_document_does_not_depend_on_where_a_batch_ends(work):
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    rows = [{"source": "lessons", "turns": ["Where is the cat?", "In the house, in the garden or in the field."]},
            {"source": "childrens-stories", "text": "The hen lives by the river."}]
    documents = Documents.encode(tokenizer, rows)
    talk = documents.ids[:documents.bounds[1]].tolist()
    assert documents.own.tolist() == tok.answers(talk) + [True] * (len(documents.ids) - len(talk))
    batches = documents.rows(3, {"lessons": 1}, rows=1, length=5, own_only=True)
    weights = torch.cat([next(batches)[1][0] for _ in range(2 * len(talk))]).bool().tolist()
    assert weights[:3 * len(talk) - 1] == (tok.answers(talk) * 3)[1:]
