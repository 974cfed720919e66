"""One greedy continuation by llama.cpp: a line of JSON, for `cargo xtask bench --peer llama-cpp`.

Arguments: model, file with the prompt, new tokens, threads.
"""

import json
import sys
import time

import llama_cpp

path, prompt, n_new, n_threads = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
llama = llama_cpp.Llama(path, n_ctx=2048, n_threads=n_threads, n_threads_batch=n_threads, verbose=False)
with open(prompt, encoding="utf-8") as file:
    ids = llama.tokenize(file.read().strip().encode(), add_bos=True, special=False)

new, times = [], []
start = time.perf_counter()
for token in llama.generate(ids, temp=0.0, top_k=1, repeat_penalty=1.0):
    times.append(time.perf_counter())
    new.append(token)
    if len(new) == n_new:
        break
print(json.dumps({
    "threads": n_threads,
    "n_prompt": len(ids),
    "n_new": len(new),
    "first_ms": (times[0] - start) * 1e3,
    "decode_ms": (times[-1] - times[0]) * 1e3,
    "text": llama.detokenize(new).decode(errors="replace"),
}))
