"""Cross entropy of the head's logits without keeping them: [tokens, vocab] floats would be the largest thing in memory."""

import torch

# Tokens at a time; their logits fit a processor's cache.
CHUNK = {"cpu": 256, "cuda": 8192}


class HeadLoss(torch.autograd.Function):
    """Σ weight · −log softmax(x · Wᵀ)[target] over x [n, d], W [vocab, d], target [n], weight [n].

    The gradients of x and W are found on the way, while a chunk's logits are at hand. Products are of numbers of `kind`.
    """

    @staticmethod
    def forward(ctx, x, w, target, weight, kind):
        total = x.new_zeros((), dtype=torch.float32)
        dx, dw = torch.empty_like(x), torch.zeros_like(w)
        x, w = x.to(kind), w.to(kind)
        step = CHUNK[x.device.type]
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            logits = (x[rows] @ w.T).float()
            at_target = logits.gather(1, target[rows, None])
            greatest = logits.amax(1, keepdim=True)
            p = logits.sub_(greatest).exp_()
            sums = p.sum(1, keepdim=True)
            total += ((sums.log() + greatest - at_target)[:, 0] * weight[rows]).sum()
            if not ctx.needs_input_grad[0]:
                continue
            # d loss / d logits = weight · (softmax − one-hot).
            p *= weight[rows, None] / sums
            p.scatter_add_(1, target[rows, None], -weight[rows, None])
            p = p.to(kind)
            dx[rows] = p @ w
            dw += p.T @ x[rows]
        ctx.save_for_backward(dx, dw)
        return total

    @staticmethod
    def backward(ctx, gradient):
        dx, dw = ctx.saved_tensors
        return dx * gradient, dw * gradient, None, None, None


def text_loss(model, ids, weight, quantised, kind=torch.float32):
    """(mean nats per weighted token, balance loss, shares [layers, experts]) of ids [batch, n + 1], weight [batch, n].

    `kind` is what matrices are multiplied as: bfloat16 is three times as fast as float32 on a CPU that has it, too.
    """
    with torch.autocast(ids.device.type, kind, enabled=kind != torch.float32):
        x, shares, balance = model(ids[:, :-1], quantised)
    w = model.embed.value(quantised)
    total = HeadLoss.apply(x.flatten(0, 1), w, ids[:, 1:].flatten(), weight.flatten(), kind)
    return total / weight.sum(), balance, shares
