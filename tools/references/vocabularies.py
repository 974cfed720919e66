"""Tiny tokenizers of the kinds that the families publish, each with VOCAB_SIZE tokens."""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tiny_models import SENTENCES, VOCAB_SIZE


def metis():
    """Byte-level BPE with NFKC. Its post-processor appends <eos> to every prompt, as the published one does."""
    special = ["<pad>", "<bos>", "<eos>", "<unk>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A <eos>", pair="$A:0 $B:1", special_tokens=[("<bos>", 1), ("<eos>", 2)],
    )
    tokenizer.train_from_iterator(SENTENCES, trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=special, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    ))
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    return tokenizer


def ssmoelm(**text):
    """BPE with byte fallback and no unknown token, split at blanks that become ▁; the card's special tokens."""
    special = ["<bos>", "<eos>", "<pad>", "<|system|>", "<|user|>", "<|assistant|>", "<|eot|>"]
    tokenizer = byte_fallback(special, unk_token=None, **text)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True)
    return tokenizer


def byte_fallback(special, unk_token, text=SENTENCES, size=VOCAB_SIZE, alphabet=10):
    """Ids: the special tokens, <0x00> to <0xFF>, so many characters, and what merging them gives."""
    reserved = special + [f"<0x{byte:02X}>" for byte in range(256)]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=True)
    trained.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=size, special_tokens=reserved, limit_alphabet=alphabet, show_progress=False,
    ))
    model = json.loads(trained.to_str())["model"]
    tokenizer = Tokenizer(models.BPE(
        vocab=model["vocab"], merges=[tuple(merge) for merge in model["merges"]], unk_token=unk_token,
        fuse_unk=unk_token is not None, byte_fallback=True,
    ))
    tokenizer.add_special_tokens(special)
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1),
    ])
    assert tokenizer.get_vocab_size() == size and tokenizer.token_to_id(special[-1]) == len(special) - 1
    return tokenizer


def mistral(**text):
    """tokenizer.json as text, like Mistral-7B-v0.1's: blanks become ▁ in the normaliser, <s> is prepended, and
    merges are strings of two pieces with a blank between."""
    tokenizer = byte_fallback(["<unk>", "<s>", "</s>"], unk_token="<unk>", **text)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)],
    )
    file = json.loads(tokenizer.to_str())
    file["model"]["merges"] = [" ".join(merge) for merge in file["model"]["merges"]]
    return json.dumps(file, ensure_ascii=False, separators=(",", ":"))
