"""Rounding of matrices to 1 and 4 bits with a scale per row, in training and for the file."""

import torch

# Seven steps on either side of zero: the file stores quant + 8 in a nibble.
MOST = 7


def scales(w, bits):
    """The scale of each row of `w` [rows, cols], as [rows, 1]: a half float's value, which is what the file holds."""
    if bits == 1:
        scale = w.abs().mean(1, keepdim=True)
    else:
        scale = w.abs().amax(1, keepdim=True) / MOST
    # A row of zeros still needs a divisor: the smallest half float.
    return scale.half().float().clamp(min=2**-24)


def quants(w, scale, bits):
    """`w` [rows, cols] in steps of `scale`: ±1, or −7 to 7."""
    if bits == 1:
        return torch.where(w >= 0, 1.0, -1.0)
    return (w / scale).round().clamp(-MOST, MOST)


def rounded(w, bits):
    """`w` as the file will hold it, with the gradient of `w` itself (straight-through estimator, arXiv 1308.3432)."""
    with torch.no_grad():
        scale = scales(w, bits)
        near = quants(w, scale, bits) * scale
    return w + (near - w).detach()


def packed(w, bits):
    """The tensors that hold `w` in a file, by the ends of their names (layout: ../docs/formats.md)."""
    scale = scales(w, bits)
    q = quants(w, scale, bits)
    if bits == 1:
        # Eight signs to a byte, the first in the highest bit.
        weights = 2 ** torch.arange(7, -1, -1)
        kind, data = "bin", ((q > 0).view(len(w), -1, 8) * weights).sum(2)
    else:
        kind, data = "int4", (q[:, 0::2] + 8) + 16 * (q[:, 1::2] + 8)
    rows, cols = w.shape
    return {
        f"__{kind}": data.to(torch.uint8),
        "__scale": scale.flatten().half(),
        "__shape": torch.tensor([rows, cols], dtype=torch.int32),
        "__cols": torch.tensor([cols], dtype=torch.int32),
    }


def unpacked(tensors, key):
    """What `packed` put into `tensors` below `key`, as [rows, cols]."""
    rows, cols = tensors[f"{key}__shape"].tolist()
    scale = tensors[f"{key}__scale"].float()[:, None]
    if f"{key}__bin" in tensors:
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8)
        bits = (tensors[f"{key}__bin"].view(rows, -1, 1) >> shifts) & 1
        return (2.0 * bits.view(rows, cols) - 1) * scale
    data = tensors[f"{key}__int4"].view(rows, -1, 1)
    nibbles = torch.cat((data & 15, data >> 4), dim=2)
    return (nibbles.view(rows, cols).float() - 8) * scale
