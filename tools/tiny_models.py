"""Random little Llama checkpoints, as Hugging Face folders and as GGUF files."""

import copy
import json
import shutil

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from gguf_llama import gguf_name, permute

VOCAB_SIZE = 288
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SENTENCES = [
    "The thimble sits on the thumb, and the needle goes through the cloth.",
    "A little model tells a little story to the reader.",
    "She sells sea shells on the sea shore; the shells she sells are sea shells.",
    "the then there these thin thing think this that",
]

# Widths are multiples of 8 and mostly not of 32 or 64, so that the tails of every loop are run.
CHECKPOINTS = {
    "tiny-llama-gqa-tied": {
        "seed": 1,
        "dtype": torch.float32,
        "config": {
            "hidden_size": 32, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
        },
    },
    "tiny-llama-mha-untied": {
        "seed": 2,
        "dtype": torch.bfloat16,
        "config_as_saved": True,
        "config": {
            "hidden_size": 56, "intermediate_size": 104, "num_attention_heads": 7, "num_key_value_heads": 7,
            "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False,
        },
    },
    "tiny-llama-sharded": {
        "seed": 3,
        "dtype": torch.float16,
        "max_shard_size": "90KB",
        "config": {
            "hidden_size": 48, "intermediate_size": 88, "num_attention_heads": 6, "num_key_value_heads": 3,
            "head_dim": 16, "attention_bias": True, "rms_norm_eps": 1e-5, "rope_theta": 50000.0,
            "tie_word_embeddings": False,
        },
    },
    "tiny-llama-rope-scaling": {
        "seed": 4,
        "dtype": torch.bfloat16,
        "config": {
            "hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 1,
            "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": True,
            "rope_scaling": {
                "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    },
}
QUANTISATIONS = ["q4_1", "q8_0", "q4_0", "f16"]


def write_checkpoint(name, folder):
    """Writes the folder of the checkpoint `name`: config, tokenizer and weights."""
    spec = CHECKPOINTS[name]
    shutil.rmtree(folder, ignore_errors=True)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE, num_hidden_layers=2, max_position_embeddings=256, bos_token_id=1, eos_token_id=2,
        pad_token_id=2, **copy.deepcopy(spec["config"]),
    )
    model = LlamaForCausalLM(config)
    randomise(model, np.random.default_rng(spec["seed"]))
    model.to(spec["dtype"]).save_pretrained(folder, max_shard_size=spec.get("max_shard_size", "1GB"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)
    if not spec.get("config_as_saved"):
        write_json(folder / "config.json", published_config(spec))
    write_tokenizer(folder)


def randomise(model, rng):
    """Draws weights so wide that logits spread over several units and attention is far from even."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            shape = tuple(tensor.shape)
            if name.endswith("norm.weight"):
                values = 1 + 0.2 * rng.standard_normal(shape)
            elif name.endswith("bias"):
                values = 0.3 * rng.standard_normal(shape)
            elif "embed_tokens" in name or "lm_head" in name:
                values = 3 / np.sqrt(shape[1]) * rng.standard_normal(shape)
            else:
                values = 1.3 / np.sqrt(shape[1]) * rng.standard_normal(shape)
            tensor.copy_(torch.tensor(values))


def published_config(spec):
    """config.json in the form of the Llama checkpoints on the hub: rope_theta and rope_scaling at the top."""
    fields = {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "hidden_act": "silu", "initializer_range": 0.02,
        "max_position_embeddings": 256, "mlp_bias": False, "model_type": "llama", "num_hidden_layers": 2,
        "pretraining_tp": 1, "rope_scaling": None, "torch_dtype": str(spec["dtype"]).removeprefix("torch."),
        "use_cache": True, "vocab_size": VOCAB_SIZE,
    }
    return dict(sorted((fields | spec["config"]).items()))


def trained_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
    ])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=SPECIAL_TOKENS, show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(SENTENCES, trainer)
    assert tokenizer.get_vocab_size() == VOCAB_SIZE
    return tokenizer


def write_tokenizer(folder):
    trained_tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    write_json(folder / "tokenizer_config.json", {
        "add_bos_token": False, "add_eos_token": False, "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>", "unk_token": "<|endoftext|>", "clean_up_tokenization_spaces": False,
        "model_max_length": 256, "tokenizer_class": "PreTrainedTokenizerFast", "chat_template": CHAT_TEMPLATE,
    })


def write_gguf(path, quantisation, folder):
    """Writes the checkpoint of `folder` as a GGUF file, with q and k permuted as llama.cpp wants them."""
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(f"Tiny Llama {quantisation}")
    writer.add_file_type(getattr(gguf.LlamaFileType, f"MOSTLY_{quantisation.upper()}"))
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    add_tokenizer(writer, json.loads((folder / "tokenizer.json").read_text()))
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        data = tensor.numpy()
        if name.endswith("q_proj.weight"):
            data = permute(data, config.num_attention_heads)
        if name.endswith("k_proj.weight"):
            data = permute(data, config.num_key_value_heads)
        add_tensor(writer, gguf_name(name), data, quantisation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tensor(writer, name, data, quantisation):
    """Norms stay f32; the embedding of a Q4_1 file is Q8_0, as in llama.cpp's own Q4_1 files of tied models."""
    if data.ndim == 1:
        quantisation = "f32"
    elif name == "token_embd.weight" and quantisation == "q4_1":
        quantisation = "q8_0"
    kind = getattr(gguf.GGMLQuantizationType, quantisation.upper())
    writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)


def add_tokenizer(writer, tokenizer):
    vocab = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    tokens = [token for token, _ in vocab]
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([control if token in SPECIAL_TOKENS else normal for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")
