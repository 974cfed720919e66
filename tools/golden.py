"""Independent references for Thimble's tests, made without any of Thimble's code.

    python tools/golden.py [NAME ...] [--gguf FILE]     (no NAME: every golden, in the order below)

NAME is one of

    tiny      models/tiny-*/                         random checkpoints and GGUF files
              engine/tests/golden/tiny-*.safetensors   their logits, by transformers or by tools/references/
    tokens    engine/tests/golden/smollm2_tokens.json        2,000 strings and their ids by `tokenizers`
    pieces    engine/tests/golden/sentencepiece_tokens.json  800 strings and their ids by SentencePiece
    text      engine/tests/golden/smollm2_text.json          12 greedy texts by llama.cpp and by transformers in f32
    speed     prints llama.cpp's tokens per second on this machine (writes nothing)

`tokens`, `text` and `speed` read SmolLM2-135M-Instruct.Q4_1.gguf from models/cache/ or from --gguf.
The files are committed; the tests read them and never run Python. Everything is seeded: a second run
writes the same bytes for `tiny` and `tokens` (same package versions), and the same ids for `text`.

What is written
===============

engine/tests/golden/<stem>.safetensors, with <stem> one of
    tiny-llama-gqa-tied, tiny-llama-mha-untied, tiny-llama-sharded, tiny-llama-rope-scaling
        for the folder models/<stem>/ (config.json, tokenizer.json, tokenizer_config.json and
        model.safetensors, or two shards with model.safetensors.index.json);
    tiny-llama-gguf-q4_1, tiny-llama-gguf-q8_0, tiny-llama-gguf-q4_0, tiny-llama-gguf-f16
        for the file models/tiny-llama-gguf/tiny-<format>.gguf;
    and for each checkpoint of the families in tools/references/, whose files describe the layouts:
    tiny-mixtral-v4, tiny-mixtral-v5, tiny-neo3, tiny-neo3-plain    (mixtral.py)
    tiny-metis                                                      (metis.py)
    tiny-ssmoelm, tiny-ssmoelm-5l                                   (ssmoelm.py)
    tiny-mtlm1, tiny-mtlm1-prefixed                                 (mtlm1.py)
    tiny-moa-l2, tiny-moa-maha, tiny-moa-cosine                     (moa.py)
        for the folder models/<stem>/ with the files that the family publishes.
    Tensors, for i = 0 and 1 (two unrelated sequences, each starting at position 0):
        ids_i     i32 [n_i]             token ids, n_0 = 9, n_1 = 40 for Llama and 70 for the others
        logits_i  f32 [n_i, vocab]      row t = logits after reading ids_i[0..=t]
    Llama and stock Mixtral: by transformers; the weights are upcast exactly to f32 (GGUF: dequantised by
    gguf-py) and the forward pass is f32. The others: from the formulas, in f64, rounded to f32 at the end,
    and compared with models of transformers that compute the same, or a second implementation (twins.py).
    No token's choice of experts or paths is a close call: the last one chosen beats the next by 1e-3 of its score.

engine/tests/golden/smollm2_text.json
    {
      "model":   file name of the GGUF          "sha256": its SHA-256 in hex
      "by":      {"llama-cpp-python": version, "transformers": version, "torch": version}
      "end_ids": ids at which llama.cpp stops (end-of-generation tokens), ascending
      "max_tokens": 64
      "prompts": [ {
        "name":       unique
        "kind":       "chat" | "raw"
        "messages":   [{"role", "content"}]     chat only
        "text":       the prompt                raw only
        "rendered":   text given to the tokenizer (chat template with add_generation_prompt; raw: the text)
        "prompt_ids": ids of "rendered" (special tokens parsed, no BOS), by llama.cpp = by `tokenizers`
        "llama_cpp":     RUN    llama.cpp as it comes: it rounds activations to int8, KV cache in f16
        "llama_cpp_f32": RUN    llama.cpp on the same weights dequantised to f32, KV cache in f32
        "f32":           RUN    transformers on the same dequantised weights, all in f32
        "first_difference":     first step at which the ids of llama_cpp and f32 differ, or null
        "first_difference_f32": the same for llama_cpp_f32 and f32
        "forced_margins": [f]   per step of llama.cpp's ids, on the context of llama.cpp's ids: the f32
                                reference's logit of llama.cpp's token minus its best other logit;
                                below 0 where the f32 reference prefers another token. Against
                                llama_cpp.margins it shows the noise of llama.cpp's int8 activations.
      } ] }
    RUN = {
        "ids":     generated ids, greedy, at most 64; the end token is the last one when stopped = "eos"
        "text":    their text, without the end token
        "stopped": "eos" | "length"
        "margins": [f]           per generated id: best logit minus second best logit
        "top5":    [[id, logit]] the five best at the first generated position, best first
    }

engine/tests/golden/smollm2_tokens.json
    {
      "model": file name of the GGUF            "by": {"tokenizers": version, "llama-cpp-python": version}
      "cases": [ [string, [ids]], ... ]         2,000, one a line; ids with special tokens parsed, no BOS
      "lossy": [ [index, decoded], ... ]        cases whose decoded text (special tokens kept) is not the
                                                string: bytes without a token are dropped
      "llama_cpp_differs": [ [index, [ids]], ... ]  cases where llama.cpp's ids are others
    }
    The tokenizer is built from the GGUF's tokens, merges and token types in the way SmolLM2's authors
    publish it: Digits(individual_digits), ByteLevel(use_regex, no prefix space), BPE, special tokens.

engine/tests/golden/sentencepiece_tokens.json
    {
      "by": {"sentencepiece": version}
      "tokens": [text], "scores": [f], "token_type": [kind]    as GGUF has them in tokenizer.ggml.*
      "cases": [ [string, [ids]], ... ]         800, one a line; no BOS
    }
"""

import argparse
import hashlib
import importlib.metadata
import io
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import torch
import transformers
from llama_cpp import GGML_TYPE_F32
from transformers import DynamicCache, LlamaForCausalLM

import tiny_models
import token_strings
from gguf_llama import hugging_face_model, hugging_face_tokenizer, special_tokens, write_dequantised
from llama_cpp_reference import LlamaCpp, tokens_per_second
from prompts import CHATS, RAWS
from references.goldens import FAMILIES, by, write_family, write_logits

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "engine" / "tests" / "golden"
MODELS = ROOT / "models"
MAX_TOKENS = 64
LLAMA_LENGTHS = (9, 40)


def tiny(_):
    for name in tiny_models.CHECKPOINTS:
        tiny_models.write_checkpoint(name, MODELS / name)
        model = LlamaForCausalLM.from_pretrained(MODELS / name, dtype=torch.float32, attn_implementation="eager")
        write_logits(GOLDEN / f"{name}.safetensors", by(model), LLAMA_LENGTHS)
    folder = MODELS / "tiny-llama-gguf"
    folder.mkdir(exist_ok=True)
    for quantisation in tiny_models.QUANTISATIONS:
        path = folder / f"tiny-{quantisation}.gguf"
        tiny_models.write_gguf(path, quantisation, MODELS / "tiny-llama-gqa-tied")
        golden = GOLDEN / f"tiny-llama-gguf-{quantisation}.safetensors"
        sequences = write_logits(golden, by(hugging_face_model(path)), LLAMA_LENGTHS)
        compare_with_llama_cpp(path, *sequences[1])
    for family in FAMILIES:
        write_family(family, MODELS, GOLDEN)


def compare_with_llama_cpp(path, ids, logits):
    """llama.cpp reads the file too, and finds the same logits up to its int8 activations."""
    model = LlamaCpp(path, n_ctx=256)
    error = model.logits(ids.tolist()) - logits[-1]
    nmse = float((error**2).sum() / (logits[-1] ** 2).sum())
    print(f"  {path.name}: llama.cpp against transformers, normalised mean squared error {nmse:.1e}")
    assert nmse < 1e-2, nmse


def tokens(gguf_path):
    special = special_tokens(gguf_path)
    tokenizer, llama_cpp = hugging_face_tokenizer(gguf_path), LlamaCpp(gguf_path)
    cases, lossy, differs = [], [], []
    for index, string in enumerate(token_strings.strings(special)):
        ids = tokenizer.encode(string).ids
        cases.append([string, ids])
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        if decoded != string:
            lossy.append([index, decoded])
        theirs = llama_cpp.tokenize(string)
        if theirs != ids:
            differs.append([index, theirs])
    write_json_lines(GOLDEN / "smollm2_tokens.json", {
        "model": gguf_path.name, "by": versions("tokenizers", "llama-cpp-python"),
        "cases": cases, "lossy": lossy, "llama_cpp_differs": differs,
    })
    print(f"tokens: {len(cases)} strings, {len(lossy)} not restored, {len(differs)} other ids by llama.cpp")


def pieces(_):
    """A small vocabulary with the settings of Llama's, and what SentencePiece itself makes of strings with it."""
    strings = token_strings.strings(["[no token]"])
    # Other scripts are left to bytes.
    latin = [line for string in strings for line in string.splitlines() if line and max(line) < "\u0250"]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(latin), model_writer=model,
        model_type="bpe", vocab_size=1000, character_coverage=0.99, byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, allow_whitespace_only_pieces=True,
        minloglevel=2,
    )
    sp = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    ids = range(sp.get_piece_size())
    kinds = [2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1 for i in ids]
    write_json_lines(GOLDEN / "sentencepiece_tokens.json", {
        "by": versions("sentencepiece"), "tokens": [sp.id_to_piece(i) for i in ids],
        "scores": [sp.get_score(i) for i in ids], "token_type": kinds,
        "cases": [[string, sp.encode(string)] for string in strings[::2][:800]],
    })


def text(gguf_path):
    tokenizer, llama_cpp, model = hugging_face_tokenizer(gguf_path), LlamaCpp(gguf_path), hugging_face_model(gguf_path)
    with tempfile.TemporaryDirectory() as folder:
        write_dequantised(gguf_path, Path(folder) / "f32.gguf")
        # The file stays mapped in memory after its folder is gone.
        llama_cpp_f32 = LlamaCpp(Path(folder) / "f32.gguf", cache_type=GGML_TYPE_F32)
    prompts = []
    for name, prompt in (CHATS | RAWS).items():
        record = {"name": name, "kind": "chat" if name in CHATS else "raw"}
        record["messages" if name in CHATS else "text"] = prompt
        rendered = llama_cpp.render(prompt) if name in CHATS else prompt
        ids = llama_cpp.tokenize(rendered)
        assert ids == tokenizer.encode(rendered).ids, name
        runs = {
            "llama_cpp": greedy_llama_cpp(llama_cpp, ids),
            "llama_cpp_f32": greedy_llama_cpp(llama_cpp_f32, ids),
            "f32": greedy_f32(model, ids, llama_cpp.end_ids),
        }
        for run in runs.values():
            shown = run["ids"][:-1] if run["stopped"] == "eos" else run["ids"]
            run["text"] = tokenizer.decode(shown, skip_special_tokens=False)
        record |= {"rendered": rendered, "prompt_ids": ids} | runs | {
            "first_difference": first_difference(runs["llama_cpp"]["ids"], runs["f32"]["ids"]),
            "first_difference_f32": first_difference(runs["llama_cpp_f32"]["ids"], runs["f32"]["ids"]),
            "forced_margins": forced_margins(model, ids, runs["llama_cpp"]["ids"]),
        }
        prompts.append(record)
        print_summary(record)
    write_json_lines(GOLDEN / "smollm2_text.json", {
        "model": gguf_path.name, "sha256": hashlib.sha256(gguf_path.read_bytes()).hexdigest(),
        "by": versions("llama-cpp-python", "transformers", "torch"), "end_ids": llama_cpp.end_ids,
        "max_tokens": MAX_TOKENS, "prompts": prompts,
    })


def print_summary(record):
    run = record["llama_cpp"]
    noise = max(abs(a - b) for a, b in zip(run["margins"], record["forced_margins"]))
    print(
        f"text: {record['name']}: {len(record['prompt_ids'])} prompt tokens; llama.cpp {len(run['ids'])} tokens,"
        f" {run['stopped']}; smallest f32 margin {min(record['f32']['margins'])}; noise of llama.cpp's margins up to"
        f" {noise:.3f}; first difference to f32 {record['first_difference']}, on f32 weights"
        f" {record['first_difference_f32']}",
        flush=True,
    )


def greedy_llama_cpp(model, prompt_ids):
    model.start()
    return greedy(model.logits, prompt_ids, model.end_ids)


def greedy_f32(model, prompt_ids, end_ids):
    cache = DynamicCache(config=model.config)

    def logits(ids):
        with torch.no_grad():
            return model(torch.tensor([ids]), past_key_values=cache, logits_to_keep=1).logits[0, -1].numpy()

    return greedy(logits, prompt_ids, end_ids)


def greedy(logits_of, prompt_ids, end_ids):
    """The best token of each step, until an end token or MAX_TOKENS; `logits_of` reads on from where it was."""
    ids, margins, top5, logits = [], [], [], logits_of(prompt_ids)
    while True:
        best = np.argsort(-logits, kind="stable")[:5]
        top5 = top5 or [[int(i), rounded(logits[i])] for i in best]
        ids.append(int(best[0]))
        margins.append(rounded(logits[best[0]] - logits[best[1]]))
        if ids[-1] in end_ids:
            return {"ids": ids, "stopped": "eos", "margins": margins, "top5": top5}
        if len(ids) == MAX_TOKENS:
            return {"ids": ids, "stopped": "length", "margins": margins, "top5": top5}
        logits = logits_of(ids[-1:])


def forced_margins(model, prompt_ids, ids):
    """Per step: f32 logit of the given token minus the best other one, on the context of the given tokens."""
    with torch.no_grad():
        logits = model(torch.tensor([prompt_ids + ids[:-1]]), logits_to_keep=len(ids)).logits[0].numpy()
    margins = []
    for row, chosen in zip(logits, ids):
        others = np.delete(row, chosen)
        margins.append(rounded(row[chosen] - others.max()))
    return margins


def first_difference(a, b):
    if a == b:
        return None
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def speed(gguf_path):
    for n_threads in (1, 2):
        prefill, decode = tokens_per_second(gguf_path, n_threads)
        print(f"speed: llama.cpp, {n_threads} threads: prefill {prefill:.1f} tok/s, decode {decode:.1f} tok/s")


def rounded(logit):
    return round(float(logit), 5)


def versions(*packages):
    return {package: importlib.metadata.version(package) for package in packages}


def write_json_lines(path, value):
    """JSON with one line per member, and one line per element of each list of lists or objects."""
    members = []
    for key, member in value.items():
        if isinstance(member, list) and member and isinstance(member[0], (list, dict)):
            lines = ",\n".join(json.dumps(element, separators=(",", ":")) for element in member)
            members.append(f"{json.dumps(key)}: [\n{lines}\n]")
        else:
            members.append(f"{json.dumps(key)}: {json.dumps(member)}")
    path.write_text("{\n" + ",\n".join(members) + "\n}\n")


def main():
    goldens = {"tiny": tiny, "tokens": tokens, "pieces": pieces, "text": text, "speed": speed}
    parser = argparse.ArgumentParser(description="Writes the golden files of Thimble's tests.")
    parser.add_argument("name", nargs="*", help=f"{', '.join(goldens)}; all of them when none is given")
    parser.add_argument("--gguf", type=Path, help="SmolLM2-135M-Instruct.Q4_1.gguf, by default in models/cache/")
    arguments = parser.parse_args()
    gguf_path = arguments.gguf or MODELS / "cache" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    names = arguments.name or list(goldens)
    if unknown := set(names) - set(goldens):
        parser.error(f"no golden is called {', '.join(sorted(unknown))}; there are {', '.join(goldens)}")
    if not set(names) <= {"tiny", "pieces"} and not gguf_path.is_file():
        sys.exit(f"{gguf_path} is not there: run `cargo xtask serve` once, which fetches it, or say --gguf FILE")
    torch.set_num_threads(1)  # sums in the same order on every machine
    transformers.utils.logging.disable_progress_bar()
    GOLDEN.mkdir(parents=True, exist_ok=True)
    MODELS.mkdir(exist_ok=True)
    for name in names:
        goldens[name](gguf_path)


if __name__ == "__main__":
    main()
