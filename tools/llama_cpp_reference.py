"""llama.cpp through llama-cpp-python: token ids, logits and speed."""

import time

import llama_cpp
import numpy as np
from llama_cpp import GGML_TYPE_F16
from llama_cpp.llama_chat_format import Jinja2ChatFormatter


class LlamaCpp:
    def __init__(self, path, n_threads=1, n_ctx=2048, cache_type=GGML_TYPE_F16):
        self.llama = llama_cpp.Llama(
            str(path), n_ctx=n_ctx, n_threads=n_threads, n_threads_batch=n_threads, verbose=False,
            type_k=cache_type, type_v=cache_type,
        )
        self.vocab = llama_cpp.llama_model_get_vocab(self.llama.model)
        ids = range(self.llama.n_vocab())
        self.end_ids = [i for i in ids if llama_cpp.llama_vocab_is_eog(self.vocab, i)]

    def tokenize(self, text):
        """Ids with special tokens parsed; a BOS only where the file asks for one."""
        return self.llama.tokenize(text.encode(), add_bos=True, special=True)

    def detokenize(self, ids):
        """Text of generated ids [n], special tokens kept."""
        return self.llama.detokenize(ids, special=True).decode()

    def render(self, messages):
        """The file's own chat template, ready for the assistant's answer."""
        formatter = Jinja2ChatFormatter(
            template=self.llama.metadata["tokenizer.chat_template"], eos_token="<|im_end|>", bos_token="<|im_start|>"
        )
        return formatter(messages=messages).prompt

    def start(self):
        self.llama.reset()

    def logits(self, ids):
        """Reads ids [n] after what was read before; logits [vocab] of the last one."""
        self.llama.eval(ids)
        pointer = llama_cpp.llama_get_logits_ith(self.llama.ctx, -1)
        return np.ctypeslib.as_array(pointer, (self.llama.n_vocab(),)).copy()


def tokens_per_second(path, n_threads, n_prefill=512, n_decode=64, tries=5):
    """Best of `tries`: (prefill, decode) tokens per second, the decode after the prefill."""
    model = LlamaCpp(path, n_threads=n_threads)
    best = [0.0, 0.0]
    for _ in range(tries):
        model.start()
        start = time.perf_counter()
        logits = model.logits([(7 * i) % 49000 + 20 for i in range(n_prefill)])
        middle = time.perf_counter()
        for _ in range(n_decode):
            logits = model.logits([int(np.argmax(logits))])
        end = time.perf_counter()
        best = [max(best[0], n_prefill / (middle - start)), max(best[1], n_decode / (end - middle))]
    return best
