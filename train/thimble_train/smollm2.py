"""SmolLM2 (a Llama) that answers many prompts at once: in 8 bits on a CPU, in bfloat16 on a GPU."""

import os

import torch
from torch.nn import functional as F


class Matrix:
    """A linear map [outputs, inputs] without bias. On a CPU whole numbers of 8 bits multiply more than twice as fast as
    floats: a scale for each row of the weight, and one for each row of the input, found as it comes. The few inputs
    that are far larger than the others stay floats: they would leave the others too few steps."""

    LARGE = 16

    def __init__(self, weight, device):
        self.eight_bits = device.type == "cpu"
        if self.eight_bits:
            self.scale = weight.abs().amax(1).clamp(min=1e-8) / 127
            self.weight = (weight / self.scale[:, None]).round().to(torch.int8).t().contiguous()
        else:
            self.weight = weight.to(device, torch.bfloat16)

    def __call__(self, x):
        """x [..., inputs] -> [..., outputs]"""
        if not self.eight_bits:
            return F.linear(x, self.weight)
        rows = x.reshape(-1, x.shape[-1])
        large = rows.abs().amax(0).topk(self.LARGE).indices
        small = rows.index_fill(1, large, 0)
        scale = small.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
        product = torch._int_mm((small / scale).round_().to(torch.int8), self.weight).to(torch.float32)
        product.mul_(scale).addmm_(rows[:, large], self.weight[large].float())
        return product.mul_(self.scale).view(*x.shape[:-1], -1)


class SmolLM2:
    """The weights of a transformers Llama, laid out for decoding in batches."""

    def __init__(self, llama, device="cpu"):
        self.device = torch.device(device)
        self.rows = 16 if self.device.type == "cpu" else 1024  # prompts read at a time: a CPU's caches hold few
        self.config = c = llama.config
        self.head_dim = c.hidden_size // c.num_attention_heads
        self.group = c.num_attention_heads // c.num_key_value_heads
        dtype = torch.float32 if self.device.type == "cpu" else torch.bfloat16
        vector = lambda norm: norm.weight.detach().to(self.device, dtype)
        matrix = lambda *parts: Matrix(torch.cat([part.weight.detach().float() for part in parts]), self.device)
        self.embedding = llama.model.embed_tokens.weight.detach().to(self.device, dtype)
        self.head = matrix(llama.lm_head)
        self.norm = vector(llama.model.norm)
        self.layers = [(
            vector(layer.input_layernorm),
            matrix(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
            matrix(layer.self_attn.o_proj),
            vector(layer.post_attention_layernorm),
            matrix(layer.mlp.gate_proj, layer.mlp.up_proj),
            matrix(layer.mlp.down_proj),
        ) for layer in llama.model.layers]
        theta = c.rope_parameters["rope_theta"]
        self.frequencies = theta ** (-torch.arange(0, self.head_dim, 2, device=self.device).float() / self.head_dim)

    def forward(self, ids, positions, shared, cache, start, visible):
        """Logits [b, vocabulary] after the last of `ids` [b, t] at `positions` [b, t]. Keys and values go into `cache`,
        a tensor [2, kv heads, b, length, head dim] for each layer, from `start` on; `visible` [b, t, start + t] says
        which of them a token may look at. What all rows begin with is `shared`: it is kept, and read, once for all of
        them, [2, kv heads, p, head dim] for each layer."""
        b, t = ids.shape
        kv, d, end = self.config.num_key_value_heads, self.head_dim, start + t
        eps = self.config.rms_norm_eps
        x = self.embedding[ids]
        angles = positions[:, :, None, None] * self.frequencies
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        # The query heads that share a key head stand as more queries of that head.
        queries = kv, b, self.group * t
        p = shared[0].shape[2]
        mask = torch.zeros(b, self.group, t, p + end, dtype=x.dtype, device=self.device)
        mask[..., p:].masked_fill_(~visible[:, None], -torch.inf)
        mask = mask.flatten(1, 2)
        for (norm_in, qkv, out, norm_mlp, gate_up, down), (k_all, v_all), kept in zip(self.layers, shared, cache):
            heads = qkv(F.rms_norm(x, x.shape[-1:], norm_in, eps)).view(b, t, -1, d)
            qk, v = heads[:, :, :-kv], heads[:, :, -kv:]
            low, high = qk.chunk(2, -1)
            qk = torch.cat([low * cos - high * sin, high * cos + low * sin], -1)
            kept[0, :, :, start:end] = qk[:, :, -kv:].permute(2, 0, 1, 3)
            kept[1, :, :, start:end] = v.permute(2, 0, 1, 3)
            q = qk[:, :, :-kv].reshape(b, t, kv, self.group, d).permute(2, 0, 3, 1, 4).reshape(*queries, d) * d ** -0.5
            k, v = kept[:, :, :, :end]
            to_all = (q.flatten(1, 2) @ k_all.transpose(1, 2)).view(*queries, p)
            looks = torch.cat([to_all, q @ k.transpose(2, 3)], -1).add_(mask).softmax(-1)
            mixed = (looks[..., :p].flatten(1, 2) @ v_all).view(*queries, d) + looks[..., p:] @ v
            mixed = mixed.view(kv, b, self.group, t, d).permute(1, 3, 0, 2, 4).reshape(b, t, -1)
            x = x + out(mixed)
            gate, up = gate_up(F.rms_norm(x, x.shape[-1:], norm_mlp, eps)).chunk(2, -1)
            x = x + down(F.silu(gate) * up)
        return self.head(F.rms_norm(x[:, -1], x.shape[-1:], self.norm, eps)).float()

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
        cache = self.new_cache(b, t + limit)
        real = slots >= padding[:, None]
        ids = torch.tensor([[stop] * int(n) + prompt[p:] for n, prompt in zip(padding, prompts)], device=self.device)
        answers, rows, end = [[] for _ in prompts], list(range(b)), t
        positions = (p + slots[:t] - padding[:, None]).clamp(min=0)
        visible = causal[:t, :t] & real[:, None, :t]
        logits = []
        for i in range(0, b, self.rows):
            some = slice(i, i + self.rows)
            skip = int(padding[some].min())
            logits.append(self.forward(ids[some, skip:], positions[some, skip:], shared,
                                       [kept[:, :, some] for kept in cache], skip, visible[some, skip:]))
        logits = torch.cat(logits)
        for step in range(limit):
            drawn = draw(logits)
            for row, token in zip(rows, drawn.tolist()):
                if not answers[row] or answers[row][-1] != stop:
                    answers[row].append(token)
            alive = [i for i, row in enumerate(rows) if answers[row][-1] != stop]
            if not alive or step == limit - 1:
                break
            if len(alive) <= 0.8 * len(rows):  # to copy the cache costs as much as a step or two
                keep = torch.tensor(alive, device=self.device)
                rows = [rows[i] for i in alive]
                cache = [kept[:, :, keep] for kept in cache]
                drawn, real, padding = drawn[keep], real[keep], padding[keep]
            positions = p + end - padding[:, None]
            logits = self.forward(drawn[:, None], positions, shared, cache, end, real[:, None, :end + 1])
            end += 1
        return answers


def nucleus(temperature, top_p, generator, candidates=64, block=256):
    """A `draw` from the likeliest ids, up to `candidates` of them, that share a probability of `top_p`."""
    def draw(logits):
        b, n = logits.shape
        # The k largest lie in the k blocks with the largest maxima: many times cheaper than to sort the vocabulary.
        blocks = F.pad(logits, (0, -n % block), value=-torch.inf).view(b, -1, block)
        k = min(candidates, blocks.shape[1])
        best = blocks.amax(2).topk(k).indices
        some = blocks.gather(1, best[:, :, None].expand(b, k, block)).flatten(1)
        values, where = some.topk(min(k, n))
        p = (values / temperature).softmax(1)
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
