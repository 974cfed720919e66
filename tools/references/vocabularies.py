"""Tiny tokenizers of the kinds that the families publish, each with VOCAB_SIZE tokens."""

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
