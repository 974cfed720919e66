"""SmolLM2 (a Llama) that answers many prompts at once, in bfloat16."""

import os

import torch
from torch.nn import functional as F


class SmolLM2:
    """The weights of a transformers Llama, laid out for decoding in batches."""

    SLOTS = 8  # for new tokens, that the cache grows by

    def __init__(self, llama, device="cpu", dtype=torch.bfloat16):
        self.device = torch.device(device)
        self.rows = 16 if self.device.type == "cpu" else 1024  # prompts read at a time: a CPU's caches hold few
        self.config = c = llama.config
        self.head_dim = c.hidden_size // c.num_attention_heads
        self.group = c.num_attention_heads // c.num_key_value_heads
        weight = lambda *parts: torch.cat([part.weight.detach().to(self.device, dtype) for part in parts])
        self.embedding = weight(llama.model.embed_tokens)
        self.head = weight(llama.lm_head)
        self.norm = weight(llama.model.norm)
        self.layers = [(
            weight(layer.input_layernorm),
            weight(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
            weight(layer.self_attn.o_proj),
            weight(layer.post_attention_layernorm),
            weight(layer.mlp.gate_proj, layer.mlp.up_proj),
            weight(layer.mlp.down_proj),
        ) for layer in llama.model.layers]
        theta = c.rope_parameters["rope_theta"]
        self.frequencies = theta ** (-torch.arange(0, self.head_dim, 2, device=self.device).float() / self.head_dim)

    def forward(self, ids, positions, shared, cache, start, visible):
        """Logits [b, vocabulary] after the last of `ids` [b, t] at `positions` [b, t]. Keys and values go into `cache`,
        a tensor [2, kv heads, b, length, head dim] for each layer, from `start` on; `visible` [b, t, length] says which
        of them a token may look at. What all rows begin with is `shared`: it is kept, and read, once for all of them,
        [2, kv heads, p, head dim] for each layer."""
        b, t = ids.shape
        kv, d = self.config.num_key_value_heads, self.head_dim
        eps = self.config.rms_norm_eps
        x = self.embedding[ids]
        angles = positions[:, :, None, None] * self.frequencies
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        # The query heads that share a key head stand as more queries of that head.
        queries = kv, b, self.group * t
        p = shared[0].shape[2]
        mask = torch.zeros(b, self.group, t, p + visible.shape[2], dtype=x.dtype, device=self.device)
        mask[..., p:].masked_fill_(~visible[:, None], -torch.inf)
        mask = mask.flatten(1, 2)
        for (norm_in, qkv, out, norm_mlp, gate_up, down), (k_all, v_all), (k, v) in zip(self.layers, shared, cache):
            heads = F.linear(F.rms_norm(x, x.shape[-1:], norm_in, eps), qkv).view(b, t, -1, d)
            low, high = heads[:, :, :-kv].chunk(2, -1)
            qk = torch.cat([low * cos - high * sin, high * cos + low * sin], -1)
            k[:, :, start:start + t] = qk[:, :, -kv:].permute(2, 0, 1, 3)
            v[:, :, start:start + t] = heads[:, :, -kv:].permute(2, 0, 1, 3)
            q = qk[:, :, :-kv].reshape(b, t, kv, self.group, d).permute(2, 0, 3, 1, 4).reshape(*queries, d) * d ** -0.5
            to_all = (q.flatten(1, 2) @ k_all.transpose(1, 2)).view(*queries, p)
            looks = torch.cat([to_all, q @ k.transpose(2, 3)], -1).add_(mask).softmax(-1)
            mixed = (looks[..., :p].flatten(1, 2) @ v_all).view(*queries, d) + looks[..., p:] @ v
            mixed = mixed.view(kv, b, self.group, t, d).permute(1, 3, 0, 2, 4).reshape(b, t, -1)
            x = x + F.linear(mixed, out)
            gate, up = F.linear(F.rms_norm(x, x.shape[-1:], norm_mlp, eps), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(F.rms_norm(x[:, -1], x.shape[-1:], self.norm, eps), self.head)

    def new_cache(self, b, length):
        shape = 2, self.config.num_key_value_heads, b, length, self.head_dim
        return [torch.zeros(shape, dtype=self.embedding.dtype, device=self.device) for _ in self.layers]

    @torch.inference_mode()
    def generate(self, prompts, stop, limit, draw):
        """Answers to `prompts` (lists of ids that begin alike, by one id at least): lists of ids. An answer ends with
        the id `stop` or after `limit` ids; `draw` takes logits [b, vocabulary] to ids [b]."""
        begun = os.path.commonprefix([prompt[:-1] for prompt in prompts])
        p, b = len(begun), len(prompts)
        lengths = torch.tensor([len(prompt) - p for prompt in prompts], device=self.device)
        t = int(lengths.max())
        padding = t - lengths
        slots = torch.arange(max(p, t + limit), device=self.device)
        causal = slots[:, None] >= slots
        shared = self.new_cache(1, p)
        nothing = [kept[:, :, 0, :0] for kept in shared]
        ids = torch.tensor([begun], device=self.device)
        self.forward(ids, slots[None, :p], nothing, shared, 0, causal[None, :p, :p])
        shared = [kept[:, :, 0] for kept in shared]
        # The cache has padding, the rest of the prompt, the answer.
        real = slots >= padding[:, None]
        ids = torch.tensor([[stop] * int(n) + prompt[p:] for n, prompt in zip(padding, prompts)], device=self.device)
        positions = (p + slots[:t] - padding[:, None]).clamp(min=0)
        visible = causal[:t, :t] & real[:, None, :t]
        logits, caches = [], []
        for i in range(0, b, self.rows):
            some = slice(i, i + self.rows)
            skip = int(padding[some].min())
            caches.append(self.new_cache(len(ids[some]), t))
            logits.append(self.forward(ids[some, skip:], positions[some, skip:], shared, caches[-1], skip,
                                       visible[some, skip:]))
        logits = torch.cat(logits)
        cache = [torch.cat(parts, 2) for parts in zip(*caches)]
        answers, rows, end, length = [[] for _ in prompts], list(range(b)), t, t
        for step in range(limit):
            drawn = draw(logits)
            for row, token in zip(rows, drawn.tolist()):
                if not answers[row] or answers[row][-1] != stop:
                    answers[row].append(token)
            alive = [i for i, row in enumerate(rows) if answers[row][-1] != stop]
            if not alive or step == limit - 1:
                break
            # The products want the cache in one piece. It is copied now and then: for more slots, without who is done.
            if end == length:
                keep = torch.tensor(alive, device=self.device)
                rows = [rows[i] for i in alive]
                drawn, real, padding = drawn[keep], real[keep], padding[keep]
                length = min(end + self.SLOTS, len(slots))
                cache = [F.pad(kept[:, :, keep], (0, 0, 0, length - end)) for kept in cache]
            visible = real[:, None, :length] & (slots[:length] <= end)
            logits = self.forward(drawn[:, None], p + end - padding[:, None], shared, cache, end, visible)
            end += 1
        return answers


def nucleus(temperature, top_p, generator, candidates=64, block=256):
    """A `draw` from the likeliest ids, up to `candidates` of them, that share a probability of `top_p`."""
    def draw(logits):
        b, n = logits.shape
        # The k largest lie in the k blocks with the largest maxima: many times cheaper than to sort the vocabulary.
        blocks = (F.pad(logits, (0, -n % block), value=-torch.inf) if n % block else logits).view(b, -1, block)
        k = min(candidates, blocks.shape[1])
        best = blocks.amax(2).topk(k).indices
        some = blocks.gather(1, best[:, :, None].expand(b, k, block)).flatten(1)
        values, where = some.topk(min(k, n))
        p = (values.float() / temperature).softmax(1)
        p = p.masked_fill(p.cumsum(1) - p >= top_p, 0)
        choice = where.gather(1, torch.multinomial(p, 1, generator=generator))
        return (best.gather(1, choice // block) * block + choice % block)[:, 0]
    return draw


def load(path, device):
    """The model and tokenizer of a GGUF file."""
    from transformers import AutoModelForCausalLM, AutoTokenizer  # which only teaching needs

    folder, name = os.path.split(os.path.abspath(path))
    llama = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    return SmolLM2(llama, device), AutoTokenizer.from_pretrained(folder, gguf_file=name)
