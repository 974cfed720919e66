"""Sizes of the model and lengths of its training, by name: full (the card's), small (for a CPU), tiny (for tests)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One model and its training; lengths are in tokens."""

    name: str
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    # The hidden width of each routed expert and of the shared one.
    d_expert: int
    # The longest conversation the model is for.
    context: int
    vocab_size: int = 8192
    head_dim: int = 64
    n_experts: int = 8
    top_k: int = 2
    rope_theta: float = 10000.0
    eps: float = 1e-5

    # Training: rows of `length` tokens, so many a step.
    length: int = 512
    rows: int = 16
    pretrain_tokens: int = 0
    finetune_tokens: int = 0
    # Weights are rounded after this share of pretraining. Learning in floats first and rounding later ends lower than
    # rounding from the start, at every number of bits (ParetoQ, arXiv 2502.02631, section 3.1).
    float_share: float = 0.5
    learning_rate: float = 3e-3
    warm_up_steps: int = 100
    # Over this share of pretraining, its last, the rate falls to this share of itself, where finetuning begins.
    decay_share: float = 0.25
    finetune_rate: float = 0.4
    weight_decay: float = 0.1
    # Weight of the loss that keeps experts equally busy (Switch Transformer, arXiv 2101.03961, equation 4).
    balance: float = 0.01

    def counts(self):
        """(parameters in all, those that one token uses)."""
        d, kv = self.d_model, self.n_kv_heads * self.head_dim
        expert = 3 * d * self.d_expert
        attention = 2 * d * self.n_heads * self.head_dim + 2 * d * kv
        rest = attention + expert + self.n_experts * d + 2 * d
        outside = self.vocab_size * d + d
        return (
            self.n_layers * (rest + self.n_experts * expert) + outside,
            self.n_layers * (rest + self.top_k * expert) + outside,
        )


SIZES = {
    size.name: size
    for size in (
        Config(
            "full", d_model=768, n_layers=6, n_heads=12, n_kv_heads=3, d_expert=256, context=2048,
            length=1024, rows=64, pretrain_tokens=150_000_000, finetune_tokens=30_000_000, learning_rate=2e-3,
            warm_up_steps=300,
        ),
        Config(
            "small", d_model=256, n_layers=6, n_heads=4, n_kv_heads=2, d_expert=128, context=1024,
            pretrain_tokens=25_500_000, finetune_tokens=5_500_000, float_share=0.3, decay_share=0.3,
            learning_rate=2e-3, finetune_rate=0.7,
        ),
        Config(
            "tiny", d_model=64, n_layers=2, n_heads=1, n_kv_heads=1, d_expert=32, context=128, vocab_size=320,
            n_experts=4, length=64, rows=4, pretrain_tokens=16_384, finetune_tokens=4_096, warm_up_steps=4,
        ),
    )
}
