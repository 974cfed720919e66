"""The tokenizer: BPE with byte fallback and the card's special tokens, trained on the text itself."""

import json
import re

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<bos>", "<eos>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>", "<|eot|>"]
BOS, EOS, PAD, SYSTEM, USER, ASSISTANT, EOT = range(len(SPECIAL))

# Words with the blank before them (▁), the endings after an apostrophe, digits and line breaks one by one, and runs of
# other signs: no merge crosses these borders, so "end." and "end" share a token.
WORDS = "'(?:s|t|re|ve|m|ll|d)\\b|▁?[A-Za-z]+|▁?[0-9]|\\n|▁?[^\\sA-Za-z0-9▁]+|▁+"


def train(texts, vocab_size):
    """A tokenizer of `vocab_size` tokens: the special ones, <0x00> to <0xFF>, characters, and merges of them."""
    reserved = SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)]
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizer()
    learner.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=reserved, limit_alphabet=128, min_frequency=2, show_progress=False,
    ))
    learnt = json.loads(learner.to_str())["model"]
    tokenizer = Tokenizer(models.BPE(
        vocab=learnt["vocab"], merges=[tuple(merge) for merge in learnt["merges"]], byte_fallback=True,
    ))
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1),
    ])
    assert tokenizer.get_vocab_size() == vocab_size, f"the text gives only {tokenizer.get_vocab_size()} tokens"
    return tokenizer


def pre_tokenizer():
    return pre_tokenizers.Sequence([
        pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False),
        pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
    ])


def chat_text(turns):
    """A conversation in the card's template, up to where the assistant's next answer begins if it is its turn."""
    text = "<bos>"
    for number, turn in enumerate(turns):
        # What looks like a special token in someone's text must not become one.
        turn = re.sub(r"<\|?(\w+)\|?>", r"\1", turn)
        text += f"<|assistant|>\n{turn}<|eot|><eos>\n" if number % 2 else f"<|user|>\n{turn}<|eot|>\n"
    return text if len(turns) % 2 == 0 else text + "<|assistant|>\n"


def answers(ids):
    """Which of `ids` (a list) the assistant says: its words and the <|eot|> after them, as a list of bools."""
    out, speaks = [], False
    for position, token in enumerate(ids):
        # The line break after <|assistant|> belongs to the prompt.
        begins = position > 1 and ids[position - 2] == ASSISTANT
        speaks = (speaks or begins) and token not in (USER, EOS)
        out.append(speaks)
        speaks = speaks and token != EOT
    return out
