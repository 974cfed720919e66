"""PyTorch checkpoints for the tests: what torch.save writes of dicts, parameters, ties and number formats.

    python tools/torch_files.py

writes

    engine/tests/torch/*.pt             small checkpoints; engine/tests/containers/torch.rs says what each holds
    engine/tests/torch/sharded/         the weights of models/tiny-llama-gqa-tied in bf16, in two shards and an index
    models/tiny-llama-bin/              the model of models/tiny-llama-gqa-tied as pytorch_model.bin

Run it after `golden.py tiny`. Numbers count up, so that the tests know them without torch. A second run
writes the same bytes, but for legacy.pt, which holds an address.
"""

import json
import shutil
from collections import OrderedDict
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

ROOT = Path(__file__).resolve().parent.parent
FILES = ROOT / "engine" / "tests" / "torch"
MODELS = ROOT / "models"


def count(*shape, dtype=torch.float32):
    """0, 1, 2, … in row-major order."""
    n = torch.Size(shape).numel()
    return torch.arange(n).to(dtype).reshape(shape)


def module():
    """A module whose state_dict is the OrderedDict with the attribute `_metadata` that training programs save."""
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(count(*parameter.shape))
    return module


def nested():
    optimizer = {"state": {0: {"step": torch.tensor(7.0), "exp_avg": count(2, 3)}}, "param_groups": [{"lr": 0.5}]}
    return {
        "epoch": 3, "name": "näive", "seed": 2**40, "loss": -1.5, "done": False, "huge": 2**100, "delta": -70000,
        "nothing": None, "sizes": (1, 2, 3, 4), "list": [1, "two", (3,)], "dtype": torch.bfloat16,
        "optimizer": optimizer, "state_dict": module().state_dict(),
    }


def tied():
    """Two names of one storage, rows of a storage, a scalar, nothing, and more dimensions than two."""
    table = count(4, 6)
    return {
        "embed": table, "head": table, "rows": table[1:3], "row": table[2], "column": count(5, 1).t(),
        "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "cube": count(2, 3, 4),
    }


def formats():
    names = [
        "float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool", "complex64",
        "complex128", "complex32", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2",
    ]
    return {name: count(3, dtype=torch.float32).to(getattr(torch, name)) for name in names}


def many():
    """More entries than torch.save hands over at once, and memo numbers beyond one byte."""
    return {f"n{i}": i for i in range(999)} | {"first": count(2), "second": count(3), "large": count(9000)}


def legacy(path):
    torch.save({"w": count(3)}, path, _use_new_zipfile_serialization=False)


def tiny_llama():
    return LlamaForCausalLM.from_pretrained(MODELS / "tiny-llama-gqa-tied", dtype=torch.float32)


def write_model():
    folder = MODELS / "tiny-llama-bin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ["config.json", "tokenizer.json", "tokenizer_config.json"]:
        shutil.copyfile(MODELS / "tiny-llama-gqa-tied" / name, folder / name)
    weights = tiny_llama().state_dict()
    # The tied head is there by its own name, as in the files that transformers wrote.
    assert weights["lm_head.weight"].data_ptr() == weights["model.embed_tokens.weight"].data_ptr()
    torch.save(weights, folder / "pytorch_model.bin")


def write_shards():
    folder = FILES / "sharded"
    folder.mkdir()
    weights = tiny_llama().to(torch.bfloat16).state_dict()
    del weights["lm_head.weight"]
    names = list(weights)
    shards = [names[: len(names) // 3], names[len(names) // 3 :]]
    weight_map = {}
    for i, shard in enumerate(shards):
        file = f"pytorch_model-{i + 1:05}-of-{len(shards):05}.bin"
        torch.save(OrderedDict((name, weights[name].clone()) for name in shard), folder / file)
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": sum(w.nbytes for w in weights.values())}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


def main():
    torch.set_num_threads(1)
    shutil.rmtree(FILES, ignore_errors=True)
    FILES.mkdir(parents=True)
    torch.save(nested(), FILES / "nested.pt")
    torch.save(tied(), FILES / "tied.pt")
    torch.save(formats(), FILES / "formats.pt")
    torch.save(many(), FILES / "many.pt")
    torch.save(OrderedDict(module().named_parameters()), FILES / "parameters.pt")
    for protocol in (3, 4, 5):
        torch.save({**nested(), "bytes": b"\x00\xff"}, FILES / f"protocol{protocol}.pt", pickle_protocol=protocol)
    torch.save({"w": count(4, 3), "transposed": count(4, 3).t()}, FILES / "transposed.pt")
    torch.save(module(), FILES / "module.pt")
    torch.save({"epoch": 3, "model": {"optimizer": [1]}, "weights": {"w": count(3)}}, FILES / "elsewhere.pt")
    legacy(FILES / "legacy.pt")
    write_shards()
    write_model()


if __name__ == "__main__":
    main()
