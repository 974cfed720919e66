"""What the trained tiny models share, in float32 torch. Activations are [batch, n, width]."""

import torch
from torch.nn import functional

THETA = 10000.0


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight


def rope(x, interleaved):
    """x [batch, n, heads, head_dim] turned at position t by the angle t · THETA^(−2i/head_dim) in pair i."""
    n, head_dim = x.shape[1], x.shape[3]
    frequency = THETA ** (-torch.arange(0, head_dim, 2) / head_dim)
    angle = (torch.arange(n)[:, None] * frequency)[:, None]
    cos, sin = angle.cos(), angle.sin()
    a, b = (x[..., 0::2], x[..., 1::2]) if interleaved else x.chunk(2, dim=-1)
    turned = (a * cos - b * sin, b * cos + a * sin)
    return torch.stack(turned, dim=-1).flatten(-2) if interleaved else torch.cat(turned, dim=-1)


def attention(q, k, v, interleaved):
    """q [batch, n, heads · head_dim]; k and v the same of as many or fewer heads; heads of 64."""
    q, k, v = (x.unflatten(-1, (-1, 64)) for x in (q, k, v))
    q, k = rope(q, interleaved), rope(k, interleaved)
    groups = q.shape[2] // k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, k.repeat_interleave(groups, 2), v.repeat_interleave(groups, 2)))
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
