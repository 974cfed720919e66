"""SSMoELM in float32: a decoder whose feed-forward part is a mixture of routed experts and a shared one.

The formulas and bit widths are those of the published card: pre-norm blocks, grouped-query attention with rotary
embeddings, SwiGLU experts, the two best of softmax(router · x) weighted by their probabilities divided by their sum.
"""

import torch
from torch import nn
from torch.nn import functional

from thimble_train.quantise import rounded


class Matrix(nn.Module):
    """y = x · Wᵀ without a bias; `bits` None: never rounded."""

    def __init__(self, rows, cols, bits):
        super().__init__()
        self.bits = bits
        self.weight = nn.Parameter(torch.randn(rows, cols) / cols**0.5)

    def value(self, quantised):
        """The weight [rows, cols], rounded as in the file when `quantised`."""
        return rounded(self.weight, self.bits) if quantised and self.bits else self.weight

    def forward(self, x, quantised):
        return functional.linear(x, self.value(quantised))


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return functional.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Mlp(nn.Module):
    """down(silu(gate x) ⊙ up x)."""

    def __init__(self, d_model, d_hidden, bits):
        super().__init__()
        self.gate_proj = Matrix(d_hidden, d_model, bits)
        self.up_proj = Matrix(d_hidden, d_model, bits)
        self.down_proj = Matrix(d_model, d_hidden, bits)

    def forward(self, x, quantised):
        gate, up = self.gate_proj(x, quantised), self.up_proj(x, quantised)
        return self.down_proj(functional.silu(gate) * up, quantised)


class Scatter(torch.autograd.Function):
    """Rows of x [n, d] once for each of their k experts, in the order of experts: [n·k, d].

    The gradient is a gather and a sum, where autograd's own would add row by row.
    """

    @staticmethod
    def forward(ctx, x, order, place, k):
        ctx.save_for_backward(order, place)
        ctx.k = k
        return x.index_select(0, order // k)

    @staticmethod
    def backward(ctx, gradient):
        _, place = ctx.saved_tensors
        rows = gradient.index_select(0, place).view(-1, ctx.k, gradient.shape[1])
        return rows.sum(1), None, None, None


class Gather(torch.autograd.Function):
    """The inverse order: y [n·k, d] by experts becomes [n·k, d] by tokens."""

    @staticmethod
    def forward(ctx, y, order, place):
        ctx.save_for_backward(order)
        return y.index_select(0, place)

    @staticmethod
    def backward(ctx, gradient):
        return gradient.index_select(0, ctx.saved_tensors[0]), None, None


class Mixture(nn.Module):
    """x [n, d] through the top_k best of the experts, and through the shared one."""

    def __init__(self, config):
        super().__init__()
        self.top_k = config.top_k
        self.router = Matrix(config.n_experts, config.d_model, None)
        self.experts = nn.ModuleList(Mlp(config.d_model, config.d_expert, 1) for _ in range(config.n_experts))
        self.shared = Mlp(config.d_model, config.d_expert, 4)

    def forward(self, x, quantised):
        """(y [n, d], tokens' share of each expert [experts], mean probability of each [experts])"""
        p = self.router(x, quantised).softmax(-1)
        chosen, best = p.topk(self.top_k)
        routing = chosen / chosen.sum(-1, keepdim=True)
        order = best.flatten().argsort(stable=True)
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order), device=order.device)
        counts = torch.bincount(best.flatten(), minlength=len(self.experts))
        pieces = Scatter.apply(x, order, place, self.top_k).split(counts.tolist())
        y = torch.cat([expert(piece, quantised) for expert, piece in zip(self.experts, pieces)])
        y = Gather.apply(y, order, place).view(len(x), self.top_k, -1)
        y = (y * routing[:, :, None]).sum(1) + self.shared(x, quantised)
        return y, counts / counts.sum(), p.mean(0)


class Attention(nn.Module):
    def __init__(self, config, bits):
        super().__init__()
        self.head_dim = config.head_dim
        q, kv = config.n_heads * config.head_dim, config.n_kv_heads * config.head_dim
        self.q_proj = Matrix(q, config.d_model, 4)
        self.k_proj = Matrix(kv, config.d_model, 4)
        self.v_proj = Matrix(kv, config.d_model, bits)
        self.o_proj = Matrix(config.d_model, q, bits)

    def forward(self, x, angles, quantised):
        """x [batch, n, d]; angles: cosines and sines [n, head_dim]."""
        matrices = (self.q_proj, self.k_proj, self.v_proj)
        q, k, v = (m(x, quantised).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for m in matrices)
        q, k = (rotated(part, angles).to(v.dtype) for part in (q, k))
        if x.is_cuda:
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        else:
            y = attention(q, k, v)
        return self.o_proj(y.transpose(1, 2).flatten(2), quantised)


def attention(q, k, v, block=128):
    """Causal attention of q [batch, heads, n, head_dim] to k, v [batch, kv heads, n, head_dim], a block of queries at a time.

    On a CPU forward and backward take half of the time of PyTorch's own, which is written for a GPU's memory.
    """
    batch, heads, n, head_dim = q.shape
    groups = batch * k.shape[1]
    q = q.reshape(groups, -1, n, head_dim) * head_dim**-0.5
    k, v = k.reshape(groups, n, head_dim).transpose(1, 2), v.reshape(groups, n, head_dim)
    after = torch.full((n, n), float("-inf"), dtype=q.dtype, device=q.device).triu(1)
    y = []
    for start in range(0, n, block):
        end = min(start + block, n)
        scores = torch.bmm(q[:, :, start:end].flatten(1, 2), k[:, :, :end]).unflatten(1, (-1, end - start))
        p = (scores + after[start:end, :end]).softmax(-1, dtype=q.dtype).flatten(1, 2)
        y.append(torch.bmm(p, v[:, :end]).unflatten(1, (-1, end - start)))
    return torch.cat(y, 2).view(batch, heads, n, head_dim)


class Layer(nn.Module):
    def __init__(self, config, number):
        super().__init__()
        # V and O have four bits in the first and in the last layer, and one bit between.
        bits = 4 if number in (0, config.n_layers - 1) else 1
        self.attn_norm = Norm(config.d_model, config.eps)
        self.attn = Attention(config, bits)
        self.mlp_norm = Norm(config.d_model, config.eps)
        self.moe = Mixture(config)

    def forward(self, x, angles, quantised):
        x = x + self.attn(self.attn_norm(x), angles, quantised)
        y, share, probability = self.moe(self.mlp_norm(x).flatten(0, 1), quantised)
        return x + y.view_as(x), share, probability


class Model(nn.Module):
    """The whole model. The names of its parameters are those of the file."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed = Matrix(config.vocab_size, config.d_model, 4)
        # The embedding is also the head: with this spread, first logits are small.
        nn.init.normal_(self.embed.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(config, number) for number in range(config.n_layers))
        self.norm = Norm(config.d_model, config.eps)

    def forward(self, ids, quantised=True):
        """ids [batch, n] → (hidden states before the head [batch, n, d], experts' shares [layers, experts], balance loss)."""
        angles = rotary_angles(ids.shape[1], self.config, ids.device)
        x = functional.embedding(ids, self.embed.value(quantised))
        shares, balance = [], 0.0
        for layer in self.layers:
            x, share, probability = layer(x, angles, quantised)
            shares.append(share)
            balance = balance + len(share) * (share * probability).sum()
        return self.norm(x), torch.stack(shares), balance

    def logits(self, ids, quantised=True):
        """ids [batch, n] → [batch, n, vocab]."""
        return self.head(self(ids, quantised)[0], quantised)

    def head(self, x, quantised=True):
        """Hidden states [.., d] → logits [.., vocab]."""
        return functional.linear(x, self.embed.value(quantised))


def rotary_angles(n, config, device):
    """Cosines and sines [n, head_dim] of t · theta^(−2i/head_dim), pairs being (i, i + head_dim/2) (arXiv 2104.09864)."""
    frequency = config.rope_theta ** (-torch.arange(0, config.head_dim, 2, device=device) / config.head_dim)
    angle = torch.arange(n, device=device)[:, None] * frequency
    return torch.cat((angle, angle), 1).cos(), torch.cat((angle, angle), 1).sin()


def rotated(x, angles):
    """x [batch, heads, n, head_dim] turned by its positions' angles."""
    cos, sin = angles
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin
