"""Independent references for Thimble's tests, made without any of Thimble's code.

    python tools/golden.py [NAME ...] [--gguf FILE]     (no NAME: every golden, in the order below)

NAME is one of

    tiny      models/tiny-llama-*/                   random checkpoints and GGUF files
              engine/tests/golden/tiny-llama-*.safetensors   their logits by transformers, in f32
    tokens    engine/tests/golden/smollm2_tokens.json        2,000 strings and their ids by `tokenizers`
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
        for the file models/tiny-llama-gguf/tiny-<format>.gguf.
    Tensors, for i = 0 and 1 (two unrelated sequences, each starting at position 0):
        ids_i     i32 [n_i]             token ids, n_0 = 9, n_1 = 40
        logits_i  f32 [n_i, vocab]      row t = logits after reading ids_i[0..=t]
    The weights are upcast exactly to f32 (GGUF: dequantised by gguf-py) and the forward pass is f32.

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
        "llama_cpp":  RUN       llama.cpp: int8 activations, f16 KV cache
        "f32":        RUN       transformers: dequantised weights, f32 activations and KV cache
        "first_difference": first step at which the two runs' ids differ, or null
        "forced_margins": [f]   per step of llama.cpp's ids, on the context of llama.cpp's ids: the f32
                                reference's logit of llama.cpp's token minus its best other logit;
                                below 0 where the f32 reference prefers another token. Against
                                llama_cpp.margins it shows the size of llama.cpp's quantisation noise.
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
"""
